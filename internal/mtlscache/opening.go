package mtlscache

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// settleWait is how long a fresh connection that nobody answered on yet is kept
// from others. With TLS 1.3 the server judges the client's certificate after the
// client may have written its request, so its alert comes a round trip late; an
// answer may take minutes.
const settleWait = 250 * time.Millisecond

// An opening is the making of a generation's first connection.
type opening struct {
	done chan struct{}
	err  error // why there is no connection; set before done is closed
}

// roundTrip sends a request over the shared transport.
//
// While no connection is open, one call goes ahead and the others wait until it
// was answered, got no answer for a moment, or ended. Without that, every call in
// flight at a start, a rotation or the end of an outage would make a handshake of
// its own, only to find that one HTTP/2 connection serves them all; and where the
// gateway refuses the certificate, each would be written and its fate unknown.
// The others end with what the first one ended in: nothing was sent of them. So
// a gateway that cannot be reached delays a call by one dial.
func (g *generation) roundTrip(req *http.Request) (*http.Response, error) {
	first := g.opening.Load()
	if first == nil && g.conns.Load() > 0 {
		return g.transport.RoundTrip(req)
	}
	if first == nil {
		first = &opening{done: make(chan struct{})}
		if g.opening.CompareAndSwap(nil, first) {
			return g.open(req, first)
		}
		if first = g.opening.Load(); first == nil {
			return g.transport.RoundTrip(req) // it has just ended
		}
	}
	select {
	case <-first.done:
		if first.err != nil {
			closeBody(req)
			return nil, first.err
		}
		return g.transport.RoundTrip(req)
	case <-req.Context().Done():
		closeBody(req)
		return nil, context.Cause(req.Context())
	}
}

// open sends the request that makes the first connection.
func (g *generation) open(req *http.Request, first *opening) (*http.Response, error) {
	var once sync.Once
	end := func(err error) {
		once.Do(func() {
			first.err = err
			g.opening.Store(nil)
			close(first.done)
		})
	}
	defer end(nil)
	// An answer ends it when RoundTrip returns, and not in a hook: those of the
	// caller run after ours, and have to know the connection before others use it.
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		time.AfterFunc(settleWait, func() { end(nil) })
	}}
	res, err := g.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil && req.Context().Err() == nil {
		end(err)
	}
	if res != nil {
		res.Request = req
	}
	return res, err
}

// closeBody does what a RoundTripper owes a request that it does not send.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
