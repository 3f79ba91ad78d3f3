package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// compareTime bounds one comparison, including the repeated checks that confirm a loss.
	compareTime = 15 * time.Second
	// confirmChecks is how often the leader must report a write as missing, and confirmWait the
	// time between two checks. A leader that was elected a moment ago may lag.
	confirmChecks = 4
	confirmWait   = time.Second
	compareRetry  = 500 * time.Millisecond
)

// errRolledBack ends a handling whose effects the bus may have lost.
var errRolledBack = errors.New("the bus lost its last writes while the message was handled")

// rollbacks detects that the bus lost its last writes. It checks that the last record that was
// acknowledged to this worker, and its last presence, still exist. It checks after each
// connect, before an order continues, and with each presence. The first worker that finds a
// loss tells the others through the control bucket. It is safe for concurrent use.
type rollbacks struct {
	js       jetstream.JetStream
	nc       *nats.Conn
	requests string // stream
	ledger   *ledger.Ledger
	control  *control.Bucket
	metrics  *metrics.Worker
	log      *slog.Logger
	state    *stateFile
	window   time.Duration // Config.RollbackWindow
	now      func() time.Time

	comparing chan struct{} // holds a token while one comparison runs
	waiting   chan struct{} // holds a token while one goroutine waits for the other workers
	failed    time.Time     // of the last failed comparison; guarded by comparing, like failure
	failure   error

	mu       sync.Mutex
	last     control.Rollback
	compared connection // over which this worker compared its own marks
	settled  connection // over which the other workers compared theirs too
}

// connection identifies one connection to NATS. The zero value is no connection.
type connection uint64

// firstConnection is the connection that a worker starts with.
const firstConnection connection = 1

func newRollbacks(w *Worker) *rollbacks {
	return &rollbacks{
		js: w.js, nc: w.nc, requests: w.cfg.Layout.Requests, ledger: w.ledger, control: w.control,
		metrics: w.metrics, log: w.log, state: &stateFile{dir: w.cfg.StateDir},
		window: w.cfg.RollbackWindow, now: w.now,
		comparing: make(chan struct{}, 1), waiting: make(chan struct{}, 1),
	}
}

// connection returns the present connection, zero when there is none.
func (r *rollbacks) connection() connection {
	if !r.nc.IsConnected() {
		return 0
	}
	return connection(r.nc.Stats().Reconnects + 1)
}

// count returns the number of the last rollback that this worker knows.
func (r *rollbacks) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.Count
}

// predates reports whether a request may have been submitted before a rollback. The stream
// stored it before the rollback, or so soon after it that its producer may have published a
// lost request again.
func (r *rollbacks) predates(past control.Rollback, d *delivery) bool {
	return past.Requests.Holds(d.sequence) || r.publishedAgain(past, d.published)
}

// publishedAgain reports whether the bus may have lost an earlier copy of a request that was
// stored at that time.
func (r *rollbacks) publishedAgain(past control.Rollback, stored time.Time) bool {
	return past.Count > 0 && stored.Before(past.At.Add(r.window))
}

// lostSince is Remains.LostSince of an order that was requested at that time.
func (r *rollbacks) lostSince(requested time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.publishedAgain(r.last, requested) {
		return time.Time{}
	}
	return r.last.Ledger.At
}

// own returns the last rollback, once this worker has compared its marks over the present
// connection. It fails only when ctx ends.
func (r *rollbacks) own(ctx context.Context) (control.Rollback, error) {
	return r.await(ctx, &r.compared, r.compare)
}

// fleet returns the last rollback, once the other live workers have compared their marks too.
func (r *rollbacks) fleet(ctx context.Context) (control.Rollback, error) {
	return r.await(ctx, &r.settled, r.settle)
}

// await calls ask until *done is the present connection.
func (r *rollbacks) await(ctx context.Context, done *connection, ask func(context.Context) error) (control.Rollback, error) {
	for {
		conn := r.connection()
		r.mu.Lock()
		last, over := r.last, *done
		r.mu.Unlock()
		if conn != 0 && over == conn {
			return last, nil
		}
		if ask(ctx) == nil {
			continue
		}
		if err := sleep(ctx, compareRetry); err != nil {
			return last, err
		}
	}
}

// settle compares, waits for the other workers, and reads what they found.
func (r *rollbacks) settle(ctx context.Context) error {
	if err := acquireToken(ctx, r.waiting); err != nil {
		return err
	}
	defer releaseToken(r.waiting)
	conn := r.connection()
	r.mu.Lock()
	done := r.settled == conn && conn != 0
	r.mu.Unlock()
	if done {
		return nil
	}
	if err := r.compare(ctx); err != nil {
		return err
	}
	if conn != firstConnection {
		r.control.AwaitOthers(ctx)
		if err := r.compare(ctx); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.settled = conn
	r.mu.Unlock()
	return nil
}

// compare compares this worker's marks with the bus, tells the other workers of a loss, and
// reads the last rollback.
func (r *rollbacks) compare(ctx context.Context) error {
	if err := acquireToken(ctx, r.comparing); err != nil {
		return err
	}
	defer releaseToken(r.comparing)
	ctx, cancel := context.WithTimeout(ctx, compareTime)
	defer cancel()
	conn := r.connection()
	if conn == 0 {
		return nats.ErrDisconnected
	}
	if time.Since(r.failed) < compareRetry {
		return r.failure // many messages share one comparison
	}
	told, err := r.check(ctx)
	if err != nil {
		r.failed, r.failure = time.Now(), err
		r.log.DebugContext(ctx, "comparing the bus with the acknowledged writes; trying again", "err", err)
		return err
	}
	r.mu.Lock()
	r.last, r.compared = told, conn
	r.mu.Unlock()
	r.keep(ctx)
	return nil
}

// keep writes the state file. The caller holds the token of the comparison, or no comparison
// runs any more.
func (r *rollbacks) keep(ctx context.Context) {
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	if err := r.state.save(state{Ledger: r.ledger.Mark(), Rollback: last}); err != nil {
		r.log.WarnContext(ctx, "writing the state file; after a restart this worker notices a rollback of the bus only as far as the file says", "err", err)
	}
}

// check returns the last rollback: its own finding, or the entry in the control bucket. While
// there is no control bucket, workers learn of no rollback from each other.
func (r *rollbacks) check(ctx context.Context) (control.Rollback, error) {
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	what, err := r.lost(ctx)
	if err != nil {
		return last, err
	}
	if what != "" {
		return r.tell(ctx, last.Count+1, what)
	}
	told, err := r.control.Rollback(ctx)
	if err == nil && told.Count < last.Count {
		told, err = r.control.TellRollback(ctx, last) // the bucket was made again
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return last, nil
	}
	return told, err
}

// lost says which write the bus lost, "" for none.
func (r *rollbacks) lost(ctx context.Context) (what string, err error) {
	for i := range confirmChecks {
		if i > 0 {
			if err := sleep(ctx, confirmWait); err != nil {
				return "", err
			}
		}
		what = ""
		lost, err := r.ledger.Lost(ctx)
		if err != nil {
			return "", err
		}
		if lost {
			what = "the last record that was acknowledged"
		} else if lost, err = r.control.Lost(ctx); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return "", err
		} else if lost {
			what = "the last presence that was acknowledged"
		}
		if what == "" {
			return "", nil
		}
	}
	return what, nil
}

// tell writes to the control bucket that the bus lost its last writes. When another worker was
// first, that worker's entry counts.
func (r *rollbacks) tell(ctx context.Context, count int, what string) (control.Rollback, error) {
	made := control.Rollback{Count: count, Worker: r.control.Worker()}
	var err error
	if made.Ledger, err = r.ledger.Extent(ctx); err != nil {
		return made, err
	}
	if made.Requests, err = streams.ExtentOf(ctx, r.js, r.requests); err != nil {
		return made, err
	}
	told, err := r.control.TellRollback(ctx, made)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		told, err = made, nil
		told.At = r.now()
	}
	if err != nil {
		return told, fmt.Errorf("writing to the control bucket that the bus lost its last writes: %w", err)
	}
	r.ledger.SetMark(ledger.Mark{Made: made.Ledger.Made})
	r.control.Restart()
	r.metrics.RolledBack()
	r.log.ErrorContext(ctx, "the bus lost its last writes; orders stored before may have been submitted, and end as on_rollback says",
		"lost", what, "worker", told.Worker, "rollback", told.Count, "ledger", told.Ledger.Last, "requests", told.Requests.Last)
	return told, nil
}

// acquireToken waits until it gets the token, or ctx ends.
func acquireToken(ctx context.Context, token chan struct{}) error {
	select {
	case token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func releaseToken(token chan struct{}) { <-token }
