package mtlscache

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// An opening is the making of a generation's first connection.
type opening struct{ done chan struct{} }

// roundTrip sends a request over the shared transport.
//
// While no connection is open, one call goes ahead and the others wait until it
// got a connection or ended. Without that, every call in flight at a start, a
// rotation or the end of an outage would make a handshake of its own, only to
// find that one HTTP/2 connection serves them all. A call waits for one opening
// at most, so a gateway that cannot be reached delays it by one dial.
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
		return g.transport.RoundTrip(req)
	case <-req.Context().Done():
		closeBody(req)
		return nil, context.Cause(req.Context())
	}
}

// open sends the request that makes the first connection.
func (g *generation) open(req *http.Request, first *opening) (*http.Response, error) {
	done := sync.OnceFunc(func() {
		g.opening.Store(nil)
		close(first.done)
	})
	defer done()
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { done() }}
	res, err := g.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
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
