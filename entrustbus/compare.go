package entrustbus

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// compareWithin bounds what it takes to look for a request in the ledger.
const compareWithin = 2 * time.Second

// recorded reports whether the ledger's record under the request's id is of this request, and whether there is one that
// could be read.
func (c *Client) recorded(ctx context.Context, r Request, body []byte) (same, known bool) {
	if c.hidden.Load() {
		return false, false
	}
	ctx, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	same, err := c.recordedAs(ctx, r, body)
	if err != nil && c.forbidden(err) {
		c.hidden.Store(true)
	}
	return same, err == nil
}

// forbidden reports whether a read was not answered because the server forbids it. It tells only the connection so, and
// leaves the read to time out.
func (c *Client) forbidden(err error) bool {
	last := c.nc.LastError()
	return errors.Is(err, context.DeadlineExceeded) && errors.Is(last, nats.ErrPermissionViolation) &&
		strings.Contains(last.Error(), c.cfg.LedgerBucket)
}

// recordedAs reports whether the ledger's record is of this request.
func (c *Client) recordedAs(ctx context.Context, r Request, body []byte) (bool, error) {
	o, err := c.record(ctx, r.OrderID())
	if err != nil {
		return false, err
	}
	content, err := Digest(r)
	// The bytes are what a record knows of a request that no worker could, or dared to, decode.
	return o.Kind == r.Kind() && (o.Digest == content || o.Digest == sha256.Sum256(body)), err
}

// record reads an order's record. The bucket is opened once.
func (c *Client) record(ctx context.Context, id string) (*Order, error) {
	bucket := c.ledger.Load()
	if bucket == nil {
		opened, err := c.js.KeyValue(ctx, c.cfg.LedgerBucket)
		if err != nil {
			return nil, err
		}
		bucket = &opened
		c.ledger.Store(bucket)
	}
	entry, err := (*bucket).Get(ctx, c.cfg.Producer+"."+id)
	if err != nil {
		return nil, err
	}
	o, err := DecodeOrder(entry.Value())
	if err != nil {
		return nil, err
	}
	o.UpdatedAt = entry.Created().UTC()
	return o, nil
}
