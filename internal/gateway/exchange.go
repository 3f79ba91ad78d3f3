package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"
)

// maxBody bounds the bytes read of an answer: far more than a certificate with its chain, or
// a page of fifty events.
const maxBody = 4 << 20

// call is one request to the gateway.
type call struct {
	op     Op
	method string
	// path is below /v1, with escaped segments and without a leading slash.
	path  string
	query url.Values
	body  []byte // nil: none
	// lastByte runs before the last byte of the body is handed to the transport; nil: no check.
	lastByte func() error
}

// phase is how far an exchange got.
type phase int

const (
	phaseAnswered    phase = iota + 1 // a whole answer came
	phaseNoKeyPair                    // the client's key pair cannot be read
	phaseBadClient                    // the server refused the client's certificate in the TLS handshake
	phaseAbandoned                    // the check before the last byte of the body failed
	phaseUnsent                       // the request was not written to its end
	phaseUnprocessed                  // written; HTTP/2 says that the gateway did not process it
	phaseClientAuth                   // written; not processed, since TLS asked for the client's certificate again
	phaseNoAnswer                     // written; no answer came
	phaseCut                          // the body of the answer is truncated
	phaseOversize                     // the body of the answer is over the limit
	phaseEarly                        // an answer other than 2xx came before the request was written to its end
)

// reply is the result of a call.
type reply struct {
	phase  phase
	status int // 0 without an answer
	header http.Header
	body   []byte // nil unless phaseAnswered or phaseEarly
	part   []byte // the bytes of the body that came, in phaseCut
	err    error  // set in every phase but phaseAnswered, phaseEarly and phaseOversize
	wait   time.Duration
	// signal is what HTTP/2 or TLS says about a request without an answer.
	signal signal
	// written: the gateway may have the whole request.
	written bool
	// unproved: the connection broke before the first answer on it. That also happens if a
	// server refuses the client's certificate and the close arrives before the TLS alert.
	unproved bool
	// broken: the connection broke before all of an enrollment was written to it.
	broken bool
}

func (r reply) success() bool { return r.status >= 200 && r.status <= 299 }

// sentTrace records how far the transport got with a request, in its last attempt. The
// transport repeats an enrollment by itself only if it has read none of its body.
type sentTrace struct {
	mu sync.Mutex
	// All guarded by mu.
	found  bool         // there was a connection
	fresh  bool         // it was opened for this call, and no answer came on it
	http1  bool         // it uses HTTP/1.1
	wire   *hearingConn // the connection below it; nil: unknown
	before int64        // bytes written to wire before the request
	wrote  bool         // some of the request was handed to the connection
	ended  bool         // all of the request was; with HTTP/1.1 perhaps to a buffer
	failed bool         // writing the request failed
}

func (t *sentTrace) hooks() *httptrace.ClientTrace {
	note := func(f func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		f()
	}
	return &httptrace.ClientTrace{
		GetConn: func(string) { note(t.begin) },
		GotConn: func(info httptrace.GotConnInfo) {
			secure, known := info.Conn.(interface{ ConnectionState() tls.ConnectionState })
			http1 := known && secure.ConnectionState().NegotiatedProtocol != "h2"
			note(func() {
				t.begin()
				t.found, t.fresh, t.http1 = true, !info.Reused, http1
				if t.wire = hearing(info.Conn); t.wire != nil {
					t.before = t.wire.written.Load()
				}
			})
		},
		GotFirstResponseByte: func() {
			note(func() {
				if t.fresh = false; t.wire != nil {
					t.wire.answered.Store(true)
				}
			})
		},
		WroteHeaders: func() { note(func() { t.wrote = true }) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			note(func() { t.wrote, t.ended, t.failed = true, info.Err == nil, info.Err != nil })
		},
	}
}

// begin records the start of an attempt: the transport looks for a connection, or has one.
// Caller holds t.mu.
func (t *sentTrace) begin() {
	t.found, t.fresh, t.http1, t.wire, t.before = false, false, false, nil, 0
	t.wrote, t.ended, t.failed = false, false, false
}

// unproved reports whether the gateway may still be checking the client's certificate on the
// connection. If wire is known, that holds for every call on the connection, else only for
// the call that opened it. Caller holds t.mu.
func (t *sentTrace) unproved() bool {
	if t.wire != nil {
		return !t.wire.answered.Load()
	}
	return t.fresh
}

// untouched reports whether no byte of the request reached the network. Only HTTP/1.1 shows
// that: its connection carries one request at a time. Caller holds t.mu.
func (t *sentTrace) untouched() bool {
	return t.http1 && t.wire != nil && t.wire.written.Load() == t.before
}

// unsent reports whether the gateway provably does not have the whole request. A request that
// was not written to its end is no enrollment: its JSON is not closed. For an enrollment,
// the caller has checked that the transport has all of it. Caller holds t.mu.
func (t *sentTrace) unsent(ctx context.Context, err error, enrollment bool) bool {
	switch {
	case !t.found && !t.wrote, t.failed:
		return true
	case ctx.Err() != nil:
		// After a cancelled call an unwritten rest proves nothing: the transport writes in
		// another goroutine, which may still write it.
		return false
	case t.untouched():
		return true
	case !t.ended:
		return !enrollment
	}
	// With HTTP/1.1 the transport flushes the end of the request after it reports it as
	// written. An HTTP/2 connection can also fail because of another request's write.
	op, ok := errors.AsType[*net.OpError](err)
	return t.http1 && ok && op.Op == "write"
}

// connLost matches the errors of net/http for a connection that broke before its use. A call
// may also get such an error from another call that waited for the same connection.
var connLost = regexp.MustCompile(`http2: client conn could not be established|cannot rewind body after connection loss`)

// maxTries is how often a call is started if its connection breaks before it is written.
const maxTries = 3

// send performs the call. It returns an error only for a call that cannot be built. Every
// other failure is in the reply.
//
// Of one enrollment send writes at most one whole request. It starts the request again only
// if the previous one was not written to its end.
func (c *Client) send(ctx context.Context, q call) (reply, error) {
	timeout := c.cfg.Timeout
	if q.op == OpEnroll {
		timeout = c.cfg.EnrollTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for try := 1; ; try++ {
		traced, span := c.startSpan(ctx, q, try)
		r, err := c.exchange(traced, q)
		endSpan(span, r, err)
		if err != nil {
			return reply{}, err
		}
		again := r.broken
		if r.signal == signalHTTP1 {
			again = c.useHTTP1() && (q.op != OpEnroll || !r.written)
		}
		if !again || try == maxTries || ctx.Err() != nil {
			return r, nil
		}
	}
}

// exchange sends the request of a call once.
func (c *Client) exchange(ctx context.Context, q call) (reply, error) {
	var trace sentTrace
	ctx, abandon := context.WithCancelCause(httptrace.WithClientTrace(ctx, trace.hooks()))
	defer abandon(nil)
	req, err := c.request(ctx, q)
	if err != nil {
		return reply{}, err
	}
	var sent *body
	if q.op == OpEnroll {
		sent = &body{check: q.lastByte, abandon: abandon, rest: q.body}
		sent.of(req)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return trace.broken(ctx, err, sent), nil
	}
	defer resp.Body.Close()
	c.obeyKeepAlive(resp)

	r := reply{phase: phaseAnswered, status: resp.StatusCode, header: resp.Header, written: true}
	// After an answer other than 2xx no byte is handed over any more. So it is certain whether
	// the gateway had the whole request when it answered.
	if !r.success() {
		if whole, failed := sent.end(); failed != nil {
			return reply{phase: phaseAbandoned, err: failed}, nil
		} else if !whole {
			r.phase, r.written = phaseEarly, false
		}
	}
	r.wait = c.retryAfter(resp.Header, resp.StatusCode, time.Now())
	r.body, err = readBody(resp)
	if r.phase == phaseEarly {
		abandon(nil) // otherwise closing the answer waits for the check before the last byte
	}
	switch {
	case r.phase == phaseEarly && (err != nil || len(r.body) > maxBody):
		r.body = nil // the row for an early answer does not need the body
	case err != nil:
		r.phase, r.body, r.part, r.err = phaseCut, nil, r.body[:min(len(r.body), maxBody)], err
	case len(r.body) > maxBody:
		r.phase, r.body = phaseOversize, nil
	}
	if _, failed := sent.end(); failed != nil {
		return reply{phase: phaseAbandoned, err: failed}, nil
	}
	return r, nil
}

// readBody reads at most one byte more than maxBody. With an error it returns the bytes read.
func readBody(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= maxBody {
		b.Grow(int(n) + bytes.MinRead) // with space to find the end without growing
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, maxBody+1))
	return b.Bytes(), err
}

// broken returns the reply for a call without an answer.
func (t *sentTrace) broken(ctx context.Context, err error, sent *body) reply {
	whole, failed := sent.end() // first: it stops the handing over
	if failed != nil {
		return reply{phase: phaseAbandoned, err: failed}
	}
	t.mu.Lock()
	unsent := !whole || t.unsent(ctx, err, sent != nil)
	found, http1, unproved := t.found, t.http1, t.unproved()
	t.mu.Unlock()
	r := reply{phase: phaseNoAnswer, err: err, written: !unsent}
	if unsent {
		r.phase = phaseUnsent
	}
	if keyPair := interface{ Credentials() bool }(nil); errors.As(err, &keyPair) && keyPair.Credentials() {
		r.phase = phaseNoKeyPair
		return r
	}
	if r.signal = signalOf(err, http1); r.signal != signalNone && !unsent {
		r.phase = phaseUnprocessed
	}
	if r.signal.clientAuth() {
		r.phase = phaseClientAuth
		return r
	}
	// After an earlier answer on the connection, an alert about the client proves nothing.
	r.unproved = ctx.Err() == nil && unproved
	if refusedClient(err) && (unsent || r.unproved) {
		r.phase = phaseBadClient
	}
	r.broken = sent != nil && r.phase == phaseUnsent && ctx.Err() == nil && (found || connLost.MatchString(err.Error()))
	return r
}

// request builds the HTTP request. It has no Idempotency-Key: with that header net/http may
// send a POST twice, and the gateway does not deduplicate.
func (c *Client) request(ctx context.Context, q call) (*http.Request, error) {
	target := c.base + "/" + q.path
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "entrust-worker")
	if c.cfg.ClientID != "" {
		req.Header.Set("ca-client-id", c.cfg.ClientID)
	}
	if q.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header)) // adds nothing outside a trace
	return req, nil
}

// segments escapes and joins path segments. A segment of dots alone is escaped too: a server
// would read ".." as the parent.
func segments(parts ...string) string {
	escaped := make([]string, len(parts))
	for i, part := range parts {
		escaped[i] = segment(part)
	}
	return strings.Join(escaped, "/")
}

func segment(s string) string {
	if strings.Trim(s, ".") == "" {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// lost says in one line why no answer came, without the URL with which net/http begins its
// errors.
func lost(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	// The certificate in this error is the server's. The text of the whole error is long, and
	// the reason comes last.
	if v, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return clean("server certificate: " + v.Err.Error())
	}
	return clean(err.Error())
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
