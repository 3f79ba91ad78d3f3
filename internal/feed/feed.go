// Package feed publishes the gateway's certificate events: certificates that anyone
// issued, revoked or put on hold. One worker of the fleet reads the events of each CA in
// turn, and publishes each event once.
//
// # Exactly once
//
// The stream of events records the published events: each message carries its event's id.
// The worker publishes a message only if the last message of the CA is the one that it
// knows (expected sequence on the subject). So a worker that died, or lost its lease
// without noticing, leaves only messages behind. The next worker reads their ids before
// it continues.
//
// The worker writes the cursor in the control bucket after it read a listing to its end.
// The cursor holds the date from which the next listing is read, and the message from
// which ids may come again. Listings overlap, because a gateway may show an event late.
// If the cursor is lost, the worker restores it from the stream.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

const (
	// hold is the duration of the lease while the worker reads events. Lease.Keep renews
	// it.
	hold = time.Minute
	// callTime bounds one exchange with the NATS server.
	callTime = 5 * time.Second
)

// Gateway lists certificate events. *gateway.Client implements it.
type Gateway interface {
	// Events returns a page. The error wraps gateway.ErrNoLookup if the gateway's dialect
	// has no events.
	Events(ctx context.Context, ca string, since time.Time, index string) (gateway.EventPage, error)
}

// Cursors stores the progress of reading a CA's events. *control.Bucket implements it.
type Cursors interface {
	ReadFeed(ctx context.Context, ca string) (control.Feed, error)
	// SaveFeed returns control.ErrConflict if another worker wrote since.
	SaveFeed(ctx context.Context, ca string, f *control.Feed) error
}

// Pace is a wait between two pages. It leaves six tenths of the smallest known quota, 100
// calls in 10 s, to orders.
const Pace = 250 * time.Millisecond

// Feed reads and publishes events. All fields but Pace are required. Call Run once.
type Feed struct {
	JS       jetstream.JetStream
	Stream   string
	Subjects entrustbus.Subjects
	Gateway  Gateway
	Cursors  Cursors
	Lease    *control.Lease
	// CAs returns the CAs whose events are read.
	CAs func(context.Context) []string
	// Turn returns when the next page may be requested. throttled is the error of the
	// last try if the same page is requested again, else nil; Turn may return it.
	Turn func(ctx context.Context, throttled error) error
	// Now returns the NATS server's time.
	Now func() time.Time
	// Every is the wait between two readings. Delay is how long the gateway may take to
	// show an event.
	Every, Delay time.Duration
	// Pace is the wait between two pages; 0 for none. It leaves most of the gateway's
	// quota to orders during a long listing.
	Pace time.Duration
	Log  *slog.Logger

	states map[string]*state // by CA; nil: read the stream first
}

// Run reads events until ctx ends, whenever this worker has the lease.
func (f *Feed) Run(ctx context.Context) {
	// Workers that start together must not all ask for the lease at once.
	pause := time.Duration((0.5 + rand.Float64()) * float64(min(f.Every, 2*time.Second)))
	for sleep(ctx, pause) == nil {
		pause = f.turn(ctx)
	}
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := f.Lease.Release(leave); err != nil {
		f.Log.DebugContext(leave, "releasing the feed lease failed; it expires by itself", "err", err)
	}
}

// turn reads the events of each CA once if this worker gets the lease. It returns the
// wait before the next turn.
func (f *Feed) turn(ctx context.Context) time.Duration {
	ask, cancel := context.WithTimeout(ctx, callTime)
	acquired, wait, err := f.Lease.Acquire(ask, hold)
	cancel()
	if err != nil || !acquired {
		f.states = nil // another worker publishes now
		if err != nil {
			f.Log.WarnContext(ctx, "acquiring the feed lease failed; trying again", "wait", f.Every, "err", err)
			return f.Every
		}
		return wait + rand.N(f.Every/10+1)
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var keeping sync.WaitGroup
	keeping.Go(func() { f.Lease.Keep(reading, hold, stop) })
	for _, ca := range f.CAs(reading) {
		err := f.Read(reading, ca)
		switch {
		case err == nil:
		case reading.Err() != nil:
		case errors.Is(err, gateway.ErrNoLookup):
			f.Log.WarnContext(ctx, "the gateway's dialect has no certificate events: there is no feed", "ca", ca)
		default:
			f.Log.WarnContext(ctx, "reading certificate events failed; trying again", "ca", ca, "wait", f.Every, "err", err)
		}
	}
	stop(nil)
	keeping.Wait()
	if ctx.Err() == nil {
		// If this worker does not come back for its next turn, another worker takes over.
		renew, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		if err := f.Lease.Renew(renew, f.Every+f.Every/10+hold); err != nil {
			f.Log.WarnContext(ctx, "renewing the feed lease failed", "err", err)
		}
	}
	return f.Every
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
