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
	"strings"
	"sync"
	"time"
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
}

// phase is how far an exchange came.
type phase int

const (
	phaseAnswered  phase = iota + 1 // a whole answer
	phaseNoKeyPair                  // the client's key pair cannot be read
	phaseBadClient                  // the server refused the client's certificate in the TLS handshake
	phaseUnsent                     // the request was not written to its end
	phaseNoAnswer                   // it was, and no answer came
	phaseCut                        // the answer broke off in its body
	phaseOversize                   // the answer's body is over the limit
)

// reply is what came back of a call.
type reply struct {
	phase  phase
	status int // 0 without an answer
	header http.Header
	body   []byte // nil unless phaseAnswered
	err    error  // set in every phase but phaseAnswered and phaseOversize
	wait   time.Duration
	// unproved says that the connection broke before anything was answered on it. A
	// server that refuses the client's certificate looks like that when its closing of
	// the connection outruns its TLS alert.
	unproved bool
}

func (r reply) success() bool { return r.status >= 200 && r.status <= 299 }

// sentTrace learns from the transport how far a request went, in its last attempt: the
// transport repeats a POST of itself only where the attempt before did not reach the
// server, or the server said with GOAWAY or REFUSED_STREAM that it did not look at it.
type sentTrace struct {
	conns *conns

	mu sync.Mutex
	// All guarded by mu.
	conn   *conn // nil until one was found
	http1  bool  // it speaks HTTP/1.1
	wrote  bool  // some of the request was handed to it
	ended  bool  // all of it was; with HTTP/1.1 perhaps to a buffer
	failed bool  // writing it failed
}

func (t *sentTrace) hooks() *httptrace.ClientTrace {
	note := func(f func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		f()
	}
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			note(func() { t.begin(nil) })
		},
		GotConn: func(info httptrace.GotConnInfo) {
			secure, known := info.Conn.(interface{ ConnectionState() tls.ConnectionState })
			http1 := known && secure.ConnectionState().NegotiatedProtocol != "h2"
			note(func() {
				t.begin(t.conns.join(info.Conn, info.Reused))
				t.http1 = http1
			})
		},
		GotFirstResponseByte: func() {
			note(func() { t.conns.answer(t.conn) })
		},
		WroteHeaderField: func(string, []string) { note(func() { t.wrote = true }) },
		WroteHeaders:     func() { note(func() { t.wrote = true }) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			note(func() { t.wrote, t.ended, t.failed = true, info.Err == nil, info.Err != nil })
		},
	}
}

// begin notes that the request is about to be written to a connection, or to none yet.
// Caller holds t.mu.
func (t *sentTrace) begin(on *conn) {
	t.conns.leave(t.conn)
	t.conn, t.http1, t.wrote, t.ended, t.failed = on, false, false, false, false
}

// end is called when the call is over.
func (t *sentTrace) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(nil)
}

// unsent reports whether the gateway provably has not got the whole request. What was
// never written to its end is no enrollment: its JSON does not close. Caller holds t.mu.
func (t *sentTrace) unsent(ctx context.Context, err error) bool {
	switch {
	case t.conn == nil && !t.wrote, t.failed:
		return true
	case ctx.Err() != nil:
		// A call that was given up proves nothing by what was not written yet: the
		// transport writes in another goroutine, which may be about to.
		return false
	case !t.ended:
		return true
	}
	// With HTTP/1.1 the last of the request is flushed after the transport calls it
	// written. An HTTP/2 connection also fails for what others write to it.
	op, ok := errors.AsType[*net.OpError](err)
	return t.http1 && ok && op.Op == "write"
}

// send performs the call. It returns an error of its own only for a call that
// cannot be built; everything that happens on the way is in the reply.
func (c *Client) send(ctx context.Context, q call) (reply, error) {
	timeout := c.cfg.Timeout
	if q.op == OpEnroll {
		timeout = c.cfg.EnrollTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	trace := sentTrace{conns: &c.conns}
	defer trace.end()
	ctx = httptrace.WithClientTrace(ctx, trace.hooks())
	req, err := c.request(ctx, q)
	if err != nil {
		return reply{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return trace.broken(ctx, err), nil
	}
	defer resp.Body.Close()

	r := reply{phase: phaseAnswered, status: resp.StatusCode, header: resp.Header}
	r.wait = c.retryAfter(resp.Header, resp.StatusCode, time.Now())
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		r.phase, r.body, r.err = phaseCut, nil, err
	case len(r.body) > maxBody:
		r.phase, r.body = phaseOversize, nil
	}
	return r, nil
}

// broken is the reply of a call without an answer.
func (t *sentTrace) broken(ctx context.Context, err error) reply {
	t.mu.Lock()
	unsent, on := t.unsent(ctx, err), t.conn
	t.mu.Unlock()
	r := reply{phase: phaseNoAnswer, err: err}
	if unsent {
		r.phase = phaseUnsent
	}
	if keyPair := interface{ Credentials() bool }(nil); errors.As(err, &keyPair) && keyPair.Credentials() {
		r.phase = phaseNoKeyPair
		return r
	}
	// On a connection that was answered on before, an alert about the client proves nothing.
	r.unproved = ctx.Err() == nil && t.conns.unproved(on)
	if refusedClient(err) && (unsent || r.unproved) {
		r.phase = phaseBadClient
	}
	return r
}

// request builds the HTTP request. No Idempotency-Key: net/http would take it as
// leave to send a POST twice, and the gateway does not dedupe.
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
	if q.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
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
