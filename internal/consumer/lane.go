package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// lane is one consumer with its own concurrency, so that a backlog in one lane never delays
// another.
type lane struct {
	name     string // label of metrics and logs
	of       string // lane by which operators suspend it
	stream   string
	consumer string
	// slots is the most concurrent calls to the gateway. Further messages are decoded, acquired
	// and published meanwhile.
	slots int
	// op is the operation that every message of the lane needs. While no CA may be called for
	// it, requests wait in the stream. It is "" when messages need different operations.
	op order.Op
	// due lanes deliver due messages, whose subject names their order.
	due bool
	// reserved lanes continue while a poison message runs alone.
	reserved bool
	handle   func(context.Context, *delivery) error

	// calls has a token for each call under way.
	calls chan struct{}
	pulls *pulls
	// ended is closed when a stop has ended the last pull of the lane.
	ended chan struct{}

	mu       sync.Mutex
	inFlight map[flight]*delivery
}

// messages is the most messages in flight. A lane pulls only as many as it can start at once.
func (l *lane) messages() int { return l.slots + max(1, l.slots/4) }

// open prepares a lane for run.
func (w *Worker) open(l *lane) (err error) {
	l.inFlight = make(map[flight]*delivery)
	l.calls = make(chan struct{}, l.slots)
	l.ended = make(chan struct{})
	l.pulls, err = w.newPulls(l)
	return err
}

// run pulls until stop is done, then waits for the messages in flight. work lasts longer than
// stop, by the drain time.
func (w *Worker) run(stop, work context.Context, l *lane) {
	beat, cancel := context.WithCancel(work)
	var beats, handlers sync.WaitGroup
	beats.Go(func() { w.heartbeat(beat, l) })
	handlers.Go(func() {
		defer close(l.ended)
		l.pulls.run(stop, func(msg *nats.Msg, done func()) error {
			d, err := newDelivery(l, w.nc, msg, w.cfg.Layout.AckWait)
			if err != nil {
				return err
			}
			handlers.Go(func() {
				defer done()
				w.work(stop, work, d)
			})
			return nil
		})
	})

	trouble := backoff{first: time.Second, max: 30 * time.Second}
	for stop.Err() == nil {
		err := w.pull(stop, l)
		if err == nil {
			trouble.reset()
			continue
		}
		if errors.Is(err, nats.ErrNoResponders) {
			err = cmp.Or(w.missing(work, l), err)
		}
		wait := trouble.next()
		w.log.Warn("fetching; trying again", "lane", l.name, "stream", l.stream, "consumer", l.consumer,
			"trouble", streams.Trouble(err), "wait", wait, "err", err)
		if sleep(stop, wait) != nil {
			break
		}
	}
	handlers.Wait()
	cancel()
	beats.Wait()
}

// pull sends one request for messages, once the lane has room and may make calls. While a
// breaker lets few calls through, pull waits until those are decided.
func (w *Worker) pull(stop context.Context, l *lane) error {
	n, err := l.pulls.room(stop)
	if err != nil || n == 0 {
		return err
	}
	if w.audited(stop) != nil || w.throttle.wait(stop, l) != nil {
		return nil
	}
	if room := w.throttle.room(l, n); room < n {
		return l.pulls.askAlone(stop, room)
	}
	return l.pulls.ask(n)
}

// missing says why no server answers a pull: the consumer is gone, or its stream.
func (w *Worker) missing(ctx context.Context, l *lane) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if _, err := w.js.Consumer(ctx, l.stream, l.consumer); err != nil {
		return fmt.Errorf("opening the consumer: %w", err)
	}
	return nil
}

// work handles one message from its delivery to its acknowledgement.
func (w *Worker) work(stop, work context.Context, d *delivery) {
	l := d.lane
	if d.deliveries > 1 {
		w.metrics.Redelivered(l.name)
	}
	switch other := l.begin(d); {
	case other == nil:
	case other.identity() == d.identity():
		// No answer here: the delivery in flight answers for both.
		w.log.DebugContext(work, "delivered again while in flight", "lane", l.name, "subject", d.msg.Subject())
		return
	default:
		w.handBack(work, d, later(time.Second, errOrderInFlight))
		return
	}
	w.metrics.InFlight(l.name, +1)
	defer func() {
		w.metrics.InFlight(l.name, -1)
		l.end(d)
	}()
	err := errStopping
	if stop.Err() == nil {
		err = w.guard(stop, work, d)
	}
	if err != nil && work.Err() != nil && errors.Is(context.Cause(work), errStopping) {
		err = errStopping
	}
	if errors.Is(err, errStopping) {
		<-l.ended // otherwise the server redelivers it to this worker's own pull
	}
	if err != nil {
		w.handBack(work, d, err)
	}
}

// flight identifies what may be in flight only once: a request, or a due message of an order.
type flight struct {
	identity
	subject string
}

// errOrderInFlight says that another message of the order is in flight.
var errOrderInFlight = errors.New("another due message of the order is in flight")

func (d *delivery) flight() flight {
	if d.lane.due {
		return flight{subject: d.msg.Subject()}
	}
	return flight{identity: d.identity()}
}

// begin puts a message in flight, or returns the message that is already there. A server that
// was killed delivers messages again, and may fire a schedule again. The server also redelivers
// the messages of a frozen process after their ack wait.
func (l *lane) begin(d *delivery) (other *delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other = l.inFlight[d.flight()]; other == nil {
		l.inFlight[d.flight()] = d
	}
	return other
}

func (l *lane) end(d *delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.inFlight, d.flight())
}

// guard handles a message. A message that may have crashed a worker is counted before each try.
// guard turns a panic into an error and logs its stack.
func (w *Worker) guard(stop, ctx context.Context, d *delivery) (err error) {
	l := d.lane
	defer func() {
		if p := recover(); p != nil {
			// The try stays counted, so a request that panics each time ends as crashed.
			w.log.ErrorContext(ctx, "a handler panicked", "lane", l.name, "subject", d.msg.Subject(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("the handler panicked")
		}
	}()
	d.doing("turn", "among the messages in flight")
	try, err := w.poison.begin(ctx, stop, l, d)
	if err != nil {
		return err
	}
	defer w.poison.end(try)
	d.doing("read", "the ledger record")
	if try.fatal {
		err = w.poisoned(ctx, d)
	} else {
		err = l.handle(ctx, d)
	}
	if try.counted && (err == nil || !try.fatal) {
		w.poison.clear(ctx, d)
	}
	return err
}

// findWedged counts the messages that are in flight longer than their calls explain. It logs
// once for each what it waits for.
func (w *Worker) findWedged(ctx context.Context, l *lane, inFlight []*delivery, now time.Time) {
	wedged := 0
	for _, d := range inFlight {
		in := now.Sub(d.begun)
		if in <= w.cfg.wedgedAfter() {
			continue
		}
		wedged++
		if !d.reported {
			d.reported = true
			w.log.ErrorContext(ctx, "a message is in flight for longer than its calls explain", "lane", l.name,
				"subject", d.msg.Subject(), "deliveries", d.deliveries, "for", in.Round(time.Second), "waits_for", d.waitsFor())
		}
	}
	w.metrics.Wedged(l.name, wedged)
}

// heartbeat extends the ack wait of messages that have been in flight for a third of it.
func (w *Worker) heartbeat(ctx context.Context, l *lane) {
	third := w.cfg.Layout.AckWait / 3
	tick := time.NewTicker(third)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		inFlight := make([]*delivery, 0, len(l.inFlight))
		for _, d := range l.inFlight {
			inFlight = append(inFlight, d)
		}
		l.mu.Unlock()
		w.findWedged(ctx, l, inFlight, time.Now())
		var all sync.WaitGroup
		for _, d := range inFlight {
			if time.Until(time.Unix(0, d.ackDeadline.Load())) < 2*third {
				all.Go(func() { w.extend(ctx, d) })
			}
		}
		all.Wait()
	}
}
