package entrustbus

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"
)

// Watch yields the ledger's record of a request now and each time it changes. It ends when the loop breaks or the context
// ends; the end of the context is the last error. A request that no worker has begun has no record yet. An operator's replay
// may open a closed order again, so the loop does not end by itself. A record that cannot
// be read is yielded as a *FieldError, and the loop goes on. ErrNoStream means that there is no ledger of that name.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[*Order, error] {
	return func(yield func(*Order, error) bool) {
		if !ValidToken(id) {
			yield(nil, errToken("id"))
			return
		}
		watcher, err := c.watcher(ctx, id)
		if err != nil {
			yield(nil, fmt.Errorf("watching %q: %w", id, err))
			return
		}
		defer func() { _ = watcher.Stop() }() // nothing is left to do if it fails
		for {
			var entry jetstream.KeyValueEntry
			var open bool
			select {
			case <-ctx.Done():
			case entry, open = <-watcher.Updates():
			}
			// The end of the context ends the watcher too, which may be seen first.
			if ctx.Err() != nil {
				yield(nil, fmt.Errorf("watching %q: %w", id, context.Cause(ctx)))
				return
			}
			if !open {
				yield(nil, fmt.Errorf("watching %q: %w", id, errors.New("the watch ended")))
				return
			}
			if entry == nil || entry.Operation() != jetstream.KeyValuePut {
				continue // nil says that what was there has been sent
			}
			o, err := DecodeOrder(entry.Value())
			if o != nil {
				o.UpdatedAt = entry.Created().UTC()
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// Order reads the ledger's record of a request once. Errors: ErrNoOrder, ErrNoStream if there is no ledger of that name, a
// *FieldError for a record that cannot be read, or an error of NATS. If NATS permissions forbid the read, the
// server does not answer, and the error is the context's. A server that lags may return an older record.
func (c *Client) Order(ctx context.Context, id string) (*Order, error) {
	if !ValidToken(id) {
		return nil, errToken("id")
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	o, err := c.record(ctx, id)
	var field *FieldError
	switch {
	case err == nil:
		return o, nil
	case errors.As(err, &field):
		return nil, err
	case errors.Is(err, jetstream.ErrKeyNotFound):
		err = ErrNoOrder
	case errors.Is(err, jetstream.ErrBucketNotFound):
		err = c.noLedger()
	}
	return nil, fmt.Errorf("reading the order %q: %w", id, err)
}

func (c *Client) noLedger() error {
	return fmt.Errorf("%w: bucket %s does not exist: run `entrust-worker provision` or check the name", ErrNoStream, c.cfg.LedgerBucket)
}

func (c *Client) watcher(ctx context.Context, id string) (jetstream.KeyWatcher, error) {
	bucket, err := c.js.KeyValue(ctx, c.cfg.LedgerBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, c.noLedger()
	}
	if err != nil {
		return nil, err
	}
	return bucket.Watch(ctx, c.cfg.Producer+"."+id)
}
