package entrustbus

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// compareWithin bounds what it takes to compare a duplicate with the request that the server kept.
const compareWithin = 2 * time.Second

// compare tells whether a request that the server dropped as a duplicate asks for the same as the one it kept, and whether
// that could be told. The ledger comes first, since it decides whose the id is. A request without a record is queued, or
// was begun in between: hence the ledger again.
func (c *Client) compare(ctx context.Context, r Request, body []byte, kept Receipt) (same, known bool) {
	ctx, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	ledger := func() (bool, error) { return c.recordedAs(ctx, r, body) }
	requests := func() (bool, error) { return c.queuedAs(ctx, r, kept) }
	for _, look := range []struct {
		stream string
		hidden *atomic.Bool
		same   func() (bool, error)
	}{
		{c.cfg.LedgerBucket, &c.hiddenLedger, ledger},
		{kept.Stream, &c.hiddenRequests, requests},
		{c.cfg.LedgerBucket, &c.hiddenLedger, ledger},
	} {
		if look.hidden.Load() {
			continue
		}
		same, err := look.same()
		if err == nil {
			return same, true
		}
		if c.forbidden(err, look.stream) {
			look.hidden.Store(true)
		}
	}
	return false, false
}

// forbidden reports whether a read was not answered because the server forbids it. It tells only the connection so, and
// leaves the read to time out.
func (c *Client) forbidden(err error, stream string) bool {
	last := c.nc.LastError()
	return errors.Is(err, context.DeadlineExceeded) && errors.Is(last, nats.ErrPermissionViolation) &&
		strings.Contains(last.Error(), stream)
}

// recordedAs reports whether the ledger's record is of this request.
func (c *Client) recordedAs(ctx context.Context, r Request, body []byte) (bool, error) {
	bucket, err := c.js.KeyValue(ctx, c.cfg.LedgerBucket)
	if err != nil {
		return false, err
	}
	entry, err := bucket.Get(ctx, c.cfg.Producer+"."+r.OrderID())
	if err != nil {
		return false, err
	}
	o, err := DecodeOrder(entry.Value())
	if err != nil {
		return false, err
	}
	content, err := Digest(r)
	// The bytes are what a record knows of a request that nobody could, or dared to, decode.
	return o.Kind == r.Kind() && (o.Digest == content || o.Digest == sha256.Sum256(body)), err
}

// queuedAs reports whether the request that the server kept is this one, as long as it is in the stream.
func (c *Client) queuedAs(ctx context.Context, r Request, kept Receipt) (bool, error) {
	stream, err := c.js.Stream(ctx, kept.Stream)
	if err != nil {
		return false, err
	}
	msg, err := stream.GetMsg(ctx, kept.Sequence)
	if err != nil {
		return false, err
	}
	content, err := Digest(r)
	if err != nil {
		return false, err
	}
	// Whatever cannot be read is not what was just written.
	producer, kind, err := c.cfg.Subjects.ParseRequest(msg.Subject)
	if err != nil || producer != c.cfg.Producer || kind != r.Kind() {
		return false, nil
	}
	enc, err := EncodingOf(msg.Header.Get(HeaderContentType), msg.Data)
	if err != nil {
		return false, nil
	}
	first, err := DecodeRequest(kind, enc, msg.Data)
	if err != nil || first.OrderID() != r.OrderID() {
		return false, nil
	}
	other, err := Digest(first)
	return other == content, err
}
