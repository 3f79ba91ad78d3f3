package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Gateway is what a worker needs of the CA Gateway. Errors are told apart by
// gateway.FateOf. *gateway.Client implements it.
type Gateway interface {
	// Enroll submits an order. An error of fate NotAccepted, Throttled or
	// Unauthorized promises that the gateway did not take it.
	Enroll(context.Context, gateway.Enrollment) (gateway.Answer, error)
	// Poll asks what became of an order. It changes nothing.
	Poll(context.Context, gateway.Poll) (gateway.Answer, error)
	// Revoke revokes a certificate. It may be repeated.
	Revoke(context.Context, gateway.Revocation) error
	// Find looks for a certificate issued since an instant. It is called only
	// while CanFind says yes.
	Find(context.Context, gateway.Search) (gateway.Answer, bool, error)
	CanFind() bool
	// Probe asks the cheapest question there is.
	Probe(context.Context) error
}

// What an order of unknown fate becomes where looking it up decides nothing.
const (
	Hold     = "hold"     // a result `unconfirmed` and a dead letter; an operator decides
	Resubmit = "resubmit" // another submission, flagged as a possible duplicate
)

// Config sets a worker up. Fields without a default are required.
type Config struct {
	Layout streams.Layout
	// CAID and ProfileID are what requests that name none are submitted with;
	// they appear in results.
	CAID, ProfileID string
	// Concurrency of the lanes: messages in hand at once. Defaults 64, 16, 64, 8.
	Issue, Revoke, Poll, Order int
	// Schedule is when a parked order is asked for. Default pollsched.Default.
	Schedule pollsched.Schedule
	// MaxWait is the deadline of an order that names none, default 10 min;
	// MaxWaitLimit the longest that one may name, default 30 days.
	MaxWait, MaxWaitLimit time.Duration
	// EnrollTimeout is how long one enrollment call may take. The lease of an
	// order covers it. Default 120 s.
	EnrollTimeout time.Duration
	// EventDelay is how long after an enrollment the gateway's events may still
	// miss it. Default 30 s.
	EventDelay time.Duration
	// OnLostReply is Hold (default) or Resubmit.
	OnLostReply string
	// ApprovalNever says that the gateway issues at once or not at all, so that
	// an order which its events do not show was not created.
	ApprovalNever bool
	// Rate limits the calls to the gateway a second, of this worker and of all
	// workers together; 0 is no limit.
	Rate, FleetRate float64
	// Drain is how long a stop waits for what is in hand. Default 25 s.
	Drain time.Duration
	// WatchdogEvery is the pause between two looks for lost slots; it is longer
	// where a look takes longer than a ninth of it. Default 5 min; negative turns
	// it off.
	WatchdogEvery time.Duration
	// Metrics may be nil.
	Metrics *Metrics
}

// maxSubmissions bounds how often one generation of an order is submitted,
// whatever OnLostReply says.
const maxSubmissions = 3

// lease is how long an order is held for one call: longer than the call may
// take, by an eighth and at least a second, for the writes around it.
func (c *Config) lease() time.Duration {
	return c.EnrollTimeout + max(c.EnrollTimeout/8, time.Second)
}

func (c *Config) setDefaults() error {
	c.Issue = cmp.Or(c.Issue, 64)
	c.Revoke = cmp.Or(c.Revoke, 16)
	c.Poll = cmp.Or(c.Poll, 64)
	c.Order = cmp.Or(c.Order, 8)
	if c.Schedule == (pollsched.Schedule{}) {
		c.Schedule = pollsched.Default()
	}
	c.MaxWait = cmp.Or(c.MaxWait, 10*time.Minute)
	c.MaxWaitLimit = cmp.Or(c.MaxWaitLimit, 30*24*time.Hour)
	c.EnrollTimeout = cmp.Or(c.EnrollTimeout, 120*time.Second)
	c.EventDelay = cmp.Or(c.EventDelay, 30*time.Second)
	c.OnLostReply = cmp.Or(c.OnLostReply, Hold)
	c.Drain = cmp.Or(c.Drain, 25*time.Second)
	c.WatchdogEvery = cmp.Or(c.WatchdogEvery, 5*time.Minute)
	switch {
	case c.CAID == "":
		return errors.New("consumer: CAID must be set")
	case min(c.Issue, c.Revoke, c.Poll, c.Order) < 1:
		return errors.New("consumer: concurrency must be at least 1 in every lane")
	case c.OnLostReply != Hold && c.OnLostReply != Resubmit:
		return fmt.Errorf("consumer: OnLostReply must be %s or %s, not %q", Hold, Resubmit, c.OnLostReply)
	case c.MaxWait > c.MaxWaitLimit:
		return fmt.Errorf("consumer: MaxWait must not exceed MaxWaitLimit: %s > %s", c.MaxWait, c.MaxWaitLimit)
	}
	return c.Schedule.Validate()
}

// Worker takes requests off the bus, calls the gateway, and publishes results.
// Make one with New; it is used by one Run.
type Worker struct {
	cfg      Config
	id       string // of this process, fresh with each start
	nc       *nats.Conn
	js       jetstream.JetStream
	link     *link
	gw       Gateway
	log      *slog.Logger
	metrics  *Metrics
	subjects entrustbus.Subjects

	ledger   *ledger.Ledger
	lot      *parking.Lot
	dead     *deadletter.Box
	gate     *gate
	suspects *suspects
	fleet    *fleet
	duty     *duty
}

// New returns a worker that has not started. Streams and consumers must exist:
// verify them first.
func New(cfg Config, js jetstream.JetStream, gw Gateway, log *slog.Logger) (*Worker, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	w := &Worker{
		cfg: cfg, id: cmp.Or(host, "worker") + "-" + nuid.Next()[12:], nc: js.Conn(), js: js, link: newLink(js.Conn()), gw: gw, log: log,
		metrics:  cfg.Metrics,
		subjects: entrustbus.Subjects{Prefix: cfg.Layout.Prefix},
	}
	w.ledger = ledger.New(js, cfg.Layout.Orders)
	w.lot = parking.New(js, cfg.Layout.Parked, w.subjects)
	w.dead = deadletter.New(js, cfg.Layout.Dead, w.subjects)
	w.suspects = newSuspects(js, cfg.Layout.Control, cfg.lease())
	w.gate = newGate(gw.Probe, cfg.Rate, log, w.metrics.gate)
	w.gate.onHold = w.metrics.held
	w.gate.onPause = w.pause
	w.fleet = newFleet(js, cfg.Layout.Control, w.id, cfg.Rate, cfg.FleetRate, w.gate, log)
	w.duty = &duty{js: js, bucket: cfg.Layout.Control, id: w.id}
	return w, nil
}

// Run works until ctx is done, then drains: it stops fetching at once, hands
// back what has not begun, lets calls in flight end within Config.Drain, and
// hands back the rest. It returns nil after a drain, and an error only when it
// could not start.
func (w *Worker) Run(ctx context.Context) error {
	stop, cancelStop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelStop(nil)
	work, cancelWork := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelWork(nil)
	w.gate.stop = stop
	open, cancelOpen := context.WithTimeout(ctx, ackTimeout)
	if err := w.ledger.Open(open); err != nil {
		w.log.Warn("reading the ledger the long way", "err", err)
	}
	cancelOpen()

	lanes := []*lane{
		{name: "issue", stream: w.cfg.Layout.Requests, consumer: streams.ConsumerIssue, slots: w.cfg.Issue, gated: true, handle: w.request},
		{name: "revoke", stream: w.cfg.Layout.Requests, consumer: streams.ConsumerRevoke, slots: w.cfg.Revoke, gated: true, handle: w.request},
		{name: "poll", stream: w.cfg.Layout.Parked, consumer: streams.ConsumerDue, slots: w.cfg.Poll, gated: true, handle: w.due},
		{name: "order", stream: w.cfg.Layout.Requests, consumer: streams.ConsumerOrder, slots: w.cfg.Order, handle: w.request},
	}
	var aside, hands sync.WaitGroup
	aside.Go(func() { w.fleet.run(stop) })
	aside.Go(func() { w.gate.run(stop) })
	if w.cfg.WatchdogEvery > 0 {
		aside.Go(func() { w.watchdog(stop) })
	}
	if w.metrics != nil {
		aside.Go(func() { w.observeBus(stop, lanes) })
	}
	for _, l := range lanes {
		hands.Go(func() { w.run(stop, work, l) })
	}
	w.log.Info("worker started", "worker", w.id, "issue", w.cfg.Issue, "revoke", w.cfg.Revoke, "poll", w.cfg.Poll)

	<-ctx.Done()
	w.log.Info("stopping: finishing what is in hand", "drain", w.cfg.Drain)
	cancelStop(errStopping)
	drained := make(chan struct{})
	go func() { hands.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(w.cfg.Drain):
		w.log.Warn("the drain time is over: handing back what is still in hand")
		cancelWork(errStopping)
		<-drained
	}
	aside.Wait()
	// Acks and naks are only buffered until here.
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	if err := w.nc.FlushWithContext(flush); err != nil {
		w.log.Warn("flushing the last acknowledgements; those messages come again", "err", err)
	}
	w.log.Info("worker stopped", "worker", w.id)
	return nil
}
