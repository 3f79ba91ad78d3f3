package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// body hands the body of an enrollment to the transport, in pieces. The gateway cannot have
// a byte that the transport does not have. Without its last byte a request is no
// enrollment: its JSON is not closed, and neither Content-Length nor the end of the stream
// is reached. If the body has several pieces, the gateway may have all but the last while
// the check runs. The body is read once: net/http has no way to send it again.
type body struct {
	// check runs before the last piece is handed over. nil: no check.
	check func() error
	// abandon ends this request, and no other on the same connection.
	abandon context.CancelCauseFunc

	mu sync.Mutex
	// All guarded by mu.
	rest []byte // not handed over yet
	shut bool   // no further byte is handed over
	err  error  // of check
}

// piece is the size in bytes of a piece. It fits into one frame of every HTTP/2 peer, and
// into a quarter of the window that a stream begins with (RFC 9113, sections 6.5.2 and
// 6.9.2). So the last piece rarely waits for the gateway's window after the check.
const piece = 16 << 10

var errShut = errors.New("the request is over")

// of makes b the body of req. It sets no GetBody, so that net/http never repeats the
// request by itself.
func (b *body) of(req *http.Request) {
	req.Body, req.ContentLength, req.GetBody = b, int64(len(b.rest)), nil
}

// Read implements io.Reader for the transport.
func (b *body) Read(p []byte) (int, error) {
	n, last, err := b.hand(p, b.check == nil)
	if !last {
		return n, err
	}
	if err := b.check(); err != nil {
		return 0, b.fail(err)
	}
	n, _, err = b.hand(p, true)
	return n, err
}

// hand copies the next piece to p. It copies the last piece only if checked is true.
// Otherwise last reports that the last piece is next, and nothing was copied.
func (b *body) hand(p []byte, checked bool) (n int, last bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.shut:
		return 0, false, errShut
	case len(b.rest) == 0:
		return 0, false, io.EOF
	case len(p) == 0:
		return 0, false, nil
	}
	p = p[:min(len(p), piece)]
	if len(b.rest) <= len(p) && !checked {
		return 0, true, nil
	}
	n = copy(p, b.rest)
	if b.rest = b.rest[n:]; len(b.rest) == 0 {
		err = io.EOF // with the last byte, so that HTTP/2 ends the stream in the same frame
	}
	return n, false, err
}

// fail ends the request because the check failed.
func (b *body) fail(err error) error {
	err = fmt.Errorf("abandoned before its last byte was sent: %w", err)
	b.mu.Lock()
	b.shut, b.err = true, err
	b.mu.Unlock()
	// The end of the context makes the failure this request's alone: other requests on the
	// same connection go on.
	b.abandon(err)
	return err
}

// Close implements io.Closer for the transport.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	return nil
}

// end shuts the body: no further byte is handed over. It reports whether all of the body
// was handed over, and returns the error of the check. A nil body counts as handed over.
func (b *body) end() (whole bool, err error) {
	if b == nil {
		return true, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	return len(b.rest) == 0, b.err
}
