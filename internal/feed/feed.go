// Package feed publishes what the gateway says happened to certificates: issued, revoked,
// held, by whomever. One worker of the fleet reads the certificate events of each CA in turn,
// and publishes each event once.
//
// # Exactly once
//
// The stream of events itself says what was published: each message carries the id of its event,
// and is published only where the last message of its CA is the one that this worker knows
// (expected sequence on the subject). So a worker that died, or lost the lease unawares, leaves
// nothing behind but messages, and the next one reads their ids before it goes on.
//
// The cursor in the control bucket is written when a listing was read to its end. It says from
// which date on the next one is read, and from which message on ids may come again. Listings
// overlap, since a gateway may show an event late. A cursor that is lost is made again from the
// stream.
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
	// hold is how long the lease holds while events are read. It is renewed meanwhile.
	hold = time.Minute
	// callTime bounds one exchange with the server.
	callTime = 5 * time.Second
)

// Gateway lists certificate events. *gateway.Client implements it.
type Gateway interface {
	// Events returns a page; the error wraps gateway.ErrNoLookup where the gateway's dialect
	// has none.
	Events(ctx context.Context, ca string, since time.Time, index string) (gateway.EventPage, error)
}

// Cursors keeps how far the events of a CA were read. *control.Bucket implements it.
type Cursors interface {
	ReadFeed(ctx context.Context, ca string) (control.Feed, error)
	// SaveFeed returns control.ErrConflict where another worker wrote since.
	SaveFeed(ctx context.Context, ca string, f *control.Feed) error
}

// Pace is the pause between two pages that leaves six tenths of the smallest quota that is
// known, 100 calls in 10 s, to orders.
const Pace = 250 * time.Millisecond

// Feed reads and publishes. Fill in every field. One Run uses it.
type Feed struct {
	JS       jetstream.JetStream
	Stream   string
	Subjects entrustbus.Subjects
	Gateway  Gateway
	Cursors  Cursors
	Lease    *control.Lease
	// CAs returns the CAs whose events are read.
	CAs func(context.Context) []string
	// Turn returns when the next page may be asked for. throttled is the error of the page
	// before, where that is to be asked for again; Turn may return it.
	Turn func(ctx context.Context, throttled error) error
	// Now is the time by the NATS server's clock.
	Now func() time.Time
	// Every is the pause between two readings, and Delay how long an event may take to be
	// shown by the gateway.
	Every, Delay time.Duration
	// Pace is the pause between two pages, 0 for none: a long listing is to leave most of the
	// gateway's quota to orders.
	Pace time.Duration
	Log  *slog.Logger

	states map[string]*state // by CA; nil: nothing is known
}

// Run reads until ctx is done, whenever this worker has the lease.
func (f *Feed) Run(ctx context.Context) {
	// Workers that start together do not all ask for the lease at once.
	pause := time.Duration((0.5 + rand.Float64()) * float64(min(f.Every, 2*time.Second)))
	for sleep(ctx, pause) == nil {
		pause = f.turn(ctx)
	}
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := f.Lease.Release(leave); err != nil {
		f.Log.DebugContext(leave, "releasing the lease of the feed; it ends by itself", "err", err)
	}
}

// turn reads the events of each CA once, where this worker gets the lease, and returns how
// long to wait for the next turn.
func (f *Feed) turn(ctx context.Context) time.Duration {
	ask, cancel := context.WithTimeout(ctx, callTime)
	acquired, wait, err := f.Lease.Acquire(ask, hold)
	cancel()
	if err != nil || !acquired {
		f.states = nil // another worker publishes
		if err != nil {
			f.Log.WarnContext(ctx, "asking for the lease of the feed", "wait", f.Every, "err", err)
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
			f.Log.WarnContext(ctx, "reading certificate events; reading them again", "ca", ca, "wait", f.Every, "err", err)
		}
	}
	stop(nil)
	keeping.Wait()
	if ctx.Err() == nil {
		// Others take over when this worker does not come back for its next turn.
		renew, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		if err := f.Lease.Renew(renew, f.Every+f.Every/10+hold); err != nil {
			f.Log.WarnContext(ctx, "renewing the lease of the feed", "err", err)
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
