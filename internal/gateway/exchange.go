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

// maxBody bounds what is read of an answer: far above a certificate with its chain,
// or a page of fifty events.
const maxBody = 4 << 20

// call is one request to the gateway.
type call struct {
	op     Op
	method string
	// path is below /v1, its segments escaped, without a leading slash.
	path  string
	query url.Values
	body  []byte // nil: none
	// lastByte runs before the last byte of the body is handed over; nil: nothing runs.
	lastByte func() error
}

// phase is how far an exchange came.
type phase int

const (
	phaseAnswered    phase = iota + 1 // a whole answer
	phaseNoKeyPair                    // the client's key pair cannot be read
	phaseBadClient                    // the server refused the client's certificate in the TLS handshake
	phaseAbandoned                    // the check before the last byte of the body failed
	phaseUnsent                       // the request was not written to its end
	phaseUnprocessed                  // it was, and the protocol says that the gateway did not look at it
	phaseClientAuth                   // the same, since TLS asked for the client's certificate again
	phaseNoAnswer                     // it was, and no answer came
	phaseCut                          // the answer broke off in its body
	phaseOversize                     // the answer's body is over the limit
	phaseEarly                        // an answer that is no success, to a request that was not written to its end
)

// reply is what came back of a call.
type reply struct {
	phase  phase
	status int // 0 without an answer
	header http.Header
	body   []byte // nil unless phaseAnswered or phaseEarly
	part   []byte // of the body, in phaseCut
	err    error  // set in every phase but phaseAnswered, phaseEarly and phaseOversize
	wait   time.Duration
	// signal is what the protocol says of a request without an answer.
	signal signal
	// written says that the gateway may have got the whole request.
	written bool
	// unproved says that the connection broke before anything was answered on it. A
	// server that refuses the client's certificate looks like that when its closing of
	// the connection outruns its TLS alert.
	unproved bool
	// broken says that the connection broke before all of an enrollment was written to it.
	broken bool
}

func (r reply) success() bool { return r.status >= 200 && r.status <= 299 }

// sentTrace learns from the transport how far a request went, in its last attempt: the
// transport repeats an enrollment of itself only where it has read nothing of its body.
type sentTrace struct {
	mu sync.Mutex
	// All guarded by mu.
	found  bool         // a connection was
	fresh  bool         // it was opened for this call, and nothing was answered on it
	http1  bool         // it speaks HTTP/1.1
	wire   *hearingConn // what is below it; nil: not known
	before int64        // bytes that were written to wire before the request
	wrote  bool         // some of the request was handed to it
	ended  bool         // all of it was; with HTTP/1.1 perhaps to a buffer
	failed bool         // writing it failed
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

// begin notes that the request is about to be written to a connection, or to none yet.
// Caller holds t.mu.
func (t *sentTrace) begin() {
	t.found, t.fresh, t.http1, t.wire, t.before = false, false, false, nil, 0
	t.wrote, t.ended, t.failed = false, false, false
}

// unproved reports whether the gateway may still be judging the client's certificate on
// the connection. Calls that share it learn that together where it is known what is below
// it; else the call that it was opened for does. Caller holds t.mu.
func (t *sentTrace) unproved() bool {
	if t.wire != nil {
		return !t.wire.answered.Load()
	}
	return t.fresh
}

// untouched reports whether nothing of the request reached the network: an HTTP/1.1
// connection carries one request at a time. Caller holds t.mu.
func (t *sentTrace) untouched() bool {
	return t.http1 && t.wire != nil && t.wire.written.Load() == t.before
}

// unsent reports whether the gateway provably has not got the whole request. What was
// never written to its end is no enrollment: its JSON does not close. Of an enrollment,
// all was handed to the transport. Caller holds t.mu.
func (t *sentTrace) unsent(ctx context.Context, err error, enrollment bool) bool {
	switch {
	case !t.found && !t.wrote, t.failed:
		return true
	case ctx.Err() != nil:
		// A call that was given up proves nothing by what was not written yet: the
		// transport writes in another goroutine, which may be about to.
		return false
	case t.untouched():
		return true
	case !t.ended:
		return !enrollment
	}
	// With HTTP/1.1 the last of the request is flushed after the transport calls it
	// written. An HTTP/2 connection also fails for what others write to it.
	op, ok := errors.AsType[*net.OpError](err)
	return t.http1 && ok && op.Op == "write"
}

// connLost matches the errors of net/http for a connection that broke before it was used,
// which a call may also get from another one that waited for the same connection.
var connLost = regexp.MustCompile(`http2: client conn could not be established|cannot rewind body after connection loss`)

// maxTries is how often a call is begun whose connection breaks before it is written.
const maxTries = 3

// send performs the call. It returns an error of its own only for a call that
// cannot be built; everything that happens on the way is in the reply.
//
// Of one enrollment at most one whole request is written: it is begun again only where the
// one before was not written to its end.
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
	// After a "no" nothing more is handed over, so that it shows whether all of the
	// request was there when it was said.
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
		abandon(nil) // or closing the answer waits for the check of the last byte
	}
	switch {
	case r.phase == phaseEarly && (err != nil || len(r.body) > maxBody):
		r.body = nil // it decides nothing by what it says
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

// readBody reads at most one byte more than maxBody. Beside an error it returns what it read.
func readBody(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= maxBody {
		b.Grow(int(n) + bytes.MinRead) // the end is found without growing
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, maxBody+1))
	return b.Bytes(), err
}

// broken is the reply of a call without an answer.
func (t *sentTrace) broken(ctx context.Context, err error, sent *body) reply {
	whole, failed := sent.end() // first: what is not handed over now never is
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
	// On a connection that was answered on before, an alert about the client proves nothing.
	r.unproved = ctx.Err() == nil && unproved
	if refusedClient(err) && (unsent || r.unproved) {
		r.phase = phaseBadClient
	}
	r.broken = sent != nil && r.phase == phaseUnsent && ctx.Err() == nil && (found || connLost.MatchString(err.Error()))
	return r
}

// request builds the HTTP request. No Idempotency-Key: net/http would
// take it as leave to send a POST twice, and the gateway does not dedupe.
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
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header)) // nothing outside a trace
	return req, nil
}

// segments escapes and joins path segments. Dots alone are escaped too: a segment
// of ".." would otherwise be taken for a step up on the way.
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

// lost says in one line why no answer came, without the URL that net/http puts in
// front of it.
func lost(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	// The certificate in this error belongs to the server; its text is long, and the
	// reason stands at its end.
	if v, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return clean("server certificate: " + v.Err.Error())
	}
	return clean(err.Error())
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
