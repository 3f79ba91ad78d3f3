package mtlscache

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// settleWait is how long other calls wait for the first answer on a new connection.
// With TLS 1.3 the server checks the client's certificate after the client may have
// written its request, so its alert comes a round trip late. An answer may take
// minutes.
const settleWait = 250 * time.Millisecond

// An opening is the attempt to make a generation's first connection.
type opening struct {
	done chan struct{}
	err  error // why there is no connection; set before done is closed
}

// roundTrip sends a request over the shared transport.
//
// While no connection is open, one call goes first. The others wait until it got an
// answer, failed, or got no answer within settleWait. Without that, every call in
// flight at a start, a rotation or the end of an outage would do its own handshake,
// although one HTTP/2 connection serves them all. And if the gateway refuses the
// certificate, each would be written and indeterminate.
//
// If the first call fails, the others return its error: no part of them was sent.
// So an unreachable gateway delays a call by one dial.
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
			return g.transport.RoundTrip(req) // the opening has just ended
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
	// An answer ends the opening when RoundTrip returns, not in a hook. The hooks of
	// the caller run after this one, and must see the connection before other calls
	// use it.
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

// closeBody closes the body of a request that is not sent, as a RoundTripper must.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
