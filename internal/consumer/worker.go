package consumer

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/keys"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/results"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// Gateway is the part of the CA Gateway's client that a worker needs. gateway.FateOf classifies
// its errors. *gateway.Client implements it.
type Gateway interface {
	// Enroll submits an order. An error of fate NotAccepted, Throttled or Unauthorized means
	// that the gateway did not accept it.
	Enroll(context.Context, gateway.Enrollment) (gateway.Answer, error)
	// Poll asks for the state of an order. It changes nothing.
	Poll(context.Context, gateway.Poll) (gateway.Answer, error)
	// Revoke revokes a certificate. It may be repeated.
	Revoke(context.Context, gateway.Revocation) error
	// Find looks for a certificate that was issued since an instant. Call it only while CanFind
	// returns true.
	Find(context.Context, gateway.Search) (gateway.Answer, bool, error)
	CanFind() bool
	// CAs returns the CAs that the gateway lists, at least one.
	CAs(context.Context) ([]gateway.ListedCA, error)
	// Profile returns the gateway's description of an enrollment profile. The error wraps
	// gateway.ErrNotDescribed when the dialect has no such call.
	Profile(ctx context.Context, ca, profile string) (gateway.Profile, error)
	// Probe makes the cheapest call.
	Probe(context.Context) error
	// CA reads the certificates of a CA. The error is gateway.ErrNoCertificates when the
	// gateway has none.
	CA(ctx context.Context, ca string) (gateway.CA, error)
	// KnownCA returns the certificates that were read before, and whether they are fresh.
	KnownCA(ca string) (known gateway.CA, fresh, ok bool)
	// Dialect is gateway.DialectAuto before the gateway has answered.
	Dialect() gateway.Dialect
}

// Worker takes requests from the bus, calls the gateway, and publishes results. Make one with
// New. It serves one Run. Its exported methods are safe for concurrent use.
type Worker struct {
	cfg      Config
	id       string // of this process, new with each start
	nc       *nats.Conn
	js       jetstream.JetStream
	connAge  *connectionAge
	gw       Gateway
	log      *slog.Logger
	metrics  *metrics.Worker
	subjects entrustbus.Subjects

	machine  order.Machine
	control  *control.Bucket
	ledger   *ledger.Ledger
	closes   *ledger.Unwaited // nil before Run
	wakeups  *wakeup.Store
	results  *results.Store
	letters  *deadletter.Box
	audit    *audit.Log // nil where there is no trail
	refusals *refusals
	certs    *certs.Store
	keys     *keys.Store

	throttle  *throttling
	cas       *knownCAs
	profiles  *knownProfiles
	crls      *crls
	rollbacks *rollbacks
	poison    *poison
	polls     answeredPolls
}

// New returns a worker that has not started. Streams and consumers must exist: verify them
// first. The worker shares bucket with the rest of its process.
func New(cfg Config, js jetstream.JetStream, bucket *control.Bucket, gw Gateway, log *slog.Logger) (*Worker, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, id: bucket.Worker(), nc: js.Conn(), js: js, connAge: newConnectionAge(js.Conn()), gw: gw, log: log,
		metrics:  cfg.Metrics,
		subjects: cfg.Layout.Subjects(),
		control:  bucket,
	}
	w.machine = order.Machine{Settings: cfg.settings(w.id)}
	w.ledger = ledger.New(js, cfg.Layout.Orders)
	w.wakeups = wakeup.New(js, cfg.Layout.Parked, w.subjects)
	w.results = results.New(js, cfg.Layout.Results, w.subjects)
	w.letters = deadletter.New(js, cfg.Layout.Dead, w.subjects)
	w.audit = newAudit(w)
	w.refusals = &refusals{nc: w.nc, subjects: w.subjects, log: log, begun: time.Now()}
	w.certs, w.keys = certs.New(js, cfg.Layout.Certs), keys.New(js, cfg.Layout.Keys)
	w.poison = newPoison(bucket, cfg.lease())
	w.rollbacks = newRollbacks(w)
	w.throttle = newThrottling(&cfg, bucket, gw, log)
	w.cas = &knownCAs{configured: cfg.CAID, read: gw.CAs, found: w.throttle.breakers.Add, log: log}
	w.crls = &crls{ask: gw.Revoke, log: log}
	w.profiles = &knownProfiles{read: gw.Profile, within: (cfg.lease() - cfg.EnrollTimeout) / 2, log: log}
	return w, nil
}

// Name returns a name for a worker's process that no other live process has.
func Name() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "worker"
	}
	return host + "-" + nuid.Next()[12:]
}

// CAs returns the CAs that requests may name, the configured one first.
func (w *Worker) CAs(ctx context.Context) []string { return w.cas.all(ctx) }

// Now is the time of the NATS server's clock, as this worker measures it.
func (w *Worker) Now() time.Time { return w.now() }

// Wake probes at once a gateway that refused the worker's credentials, for example after a new
// key pair.
func (w *Worker) Wake() { w.throttle.prober.Wake() }

// Lease is the order lease of this worker: Lease of its Config.EnrollTimeout.
func (w *Worker) Lease() time.Duration { return w.cfg.lease() }

// PollsIn is how often this worker's schedule polls an order that waits that long.
func (w *Worker) PollsIn(waited time.Duration) int { return w.cfg.Schedule.PollsIn(waited) }

// Run works until ctx is done, then drains. It stops fetching at once, hands back messages that
// have not begun, and lets calls in flight end within Config.Drain. Then it hands back the
// rest. It returns nil after a drain, and an error only when it could not start.
func (w *Worker) Run(ctx context.Context) error {
	stop, cancelStop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelStop(nil)
	work, cancelWork := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelWork(nil)
	open, cancelOpen := context.WithTimeout(ctx, ackTimeout)
	for bucket, err := range map[string]error{"ledger": w.ledger.Open(open), "certificates": w.certs.Open(open), "keys": w.keys.Open(open)} {
		if err != nil {
			w.log.Warn("opening a bucket; each read asks its leader", "bucket", bucket, "err", err)
		}
	}
	cancelOpen()
	if err := w.loadState(); err != nil {
		return err
	}
	var err error
	if w.closes, err = w.ledger.Unwaited(); err != nil {
		return err
	}

	lanes := w.lanes()
	for _, l := range lanes {
		if err := w.open(l); err != nil {
			return err
		}
	}
	var aside, handlers sync.WaitGroup
	w.throttle.run(stop, w.rollbacks.compare, &aside)
	trail, endTrail := context.WithCancel(context.WithoutCancel(ctx))
	defer endTrail()
	w.runAudit(trail, stop, &aside)
	w.awaitClock(ctx)
	if w.throttle.awaitSuspensions(ctx) != nil {
		lanes = nil // stopped before the suspensions were read
	}
	for _, l := range lanes {
		handlers.Go(func() { w.run(stop, work, l) })
	}
	w.log.Info("worker started", "worker", w.id, "issue", w.cfg.Issue, "revoke", w.cfg.Revoke, "poll", w.cfg.Poll)

	<-ctx.Done()
	w.log.Info("stopping: finishing the messages in flight", "drain", w.cfg.Drain)
	cancelStop(errStopping)
	drained := make(chan struct{})
	go func() { handlers.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(w.cfg.Drain):
		w.log.Warn("the drain time is over: handing back the messages in flight")
		cancelWork(errStopping)
		<-drained
	}
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	w.crls.requestAll(last)
	cancelLast()
	aside.Wait()
	// Acks and naks are buffered until here.
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	// A close that is repeated while NATS is away ends with that time.
	context.AfterFunc(flush, func() { cancelWork(errStopping) })
	if err := w.closes.Close(flush); err != nil {
		w.log.Warn("closing the last orders; the watchdog closes them from their results", "err", err)
	}
	w.closeAudit(flush)
	if err := w.nc.FlushWithContext(flush); err != nil {
		w.log.Warn("flushing the last acknowledgements; those messages come again", "err", err)
	}
	w.rollbacks.keep(flush)
	w.log.Info("worker stopped", "worker", w.id)
	return nil
}

// loadState reads what an earlier process of this worker wrote to its state file.
func (w *Worker) loadState() error {
	kept, err := w.rollbacks.state.load()
	if errors.Is(err, errNotAState) {
		w.log.Warn("reading the state file", "err", err)
	} else if err != nil {
		return err
	}
	if kept.Ledger.Revision > 0 {
		w.ledger.SetMark(kept.Ledger)
	}
	w.rollbacks.last = kept.Rollback
	return nil
}

// lanes are the consumers of a worker, each with its own concurrency.
func (w *Worker) lanes() []*lane {
	l, c := w.cfg.Layout, w.cfg
	again := max(c.Issue/4, 4)
	return []*lane{
		{name: "issue", of: laneIssue, stream: l.Requests, consumer: streams.ConsumerIssue, slots: c.Issue, op: order.OpEnroll, handle: w.delivered},
		{name: "revoke", of: laneRevoke, stream: l.Requests, consumer: streams.ConsumerRevoke, slots: c.Revoke, op: order.OpRevoke, reserved: true, handle: w.delivered},
		{name: "manage", of: laneManage, stream: l.Requests, consumer: streams.ConsumerManage, slots: c.Manage, handle: w.delivered},
		{name: "poll", of: lanePoll, stream: l.Parked, consumer: streams.ConsumerPoll, due: true, slots: c.Poll, op: order.OpPoll, handle: w.woken},
		{name: "resubmit", of: laneIssue, stream: l.Parked, consumer: streams.ConsumerResubmit, due: true, slots: again, handle: w.woken},
		{name: "revoke-again", of: laneRevoke, stream: l.Parked, consumer: streams.ConsumerRevokeAgain, due: true, slots: c.Revoke, op: order.OpRevoke, reserved: true, handle: w.woken},
		{name: "manage-again", of: laneManage, stream: l.Parked, consumer: streams.ConsumerManageAgain, due: true, slots: c.Manage, handle: w.woken},
	}
}

// noteworthySkew is the largest difference between the clocks of host and server without a
// warning.
const noteworthySkew = 10 * time.Second

// awaitClock waits for the first measurement of the server's time. The host's clock may be
// hours wrong, and would end leases and set wake-ups. When the control bucket is away for
// longer than ackTimeout, the worker starts with the host's clock.
func (w *Worker) awaitClock(ctx context.Context) {
	for end := time.Now().Add(ackTimeout); time.Now().Before(end); {
		if skew, uncertainty, ok := w.control.Clock().Skew(); ok {
			level := slog.LevelInfo
			if skew.Abs() > noteworthySkew+uncertainty {
				level = slog.LevelWarn
			}
			w.log.Log(ctx, level, "measured the NATS server's clock, which this worker uses",
				"ahead_of_this_host", skew.Round(time.Millisecond), "uncertainty", uncertainty.Round(time.Millisecond))
			return
		}
		if sleep(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
	w.log.WarnContext(ctx, "the server's time is not measured yet; using this host's clock until then")
}

// now is the server's time. Before the first measurement it is the host's time.
func (w *Worker) now() time.Time {
	if t, ok := w.control.Clock().Now(); ok {
		return t.UTC()
	}
	return time.Now().UTC()
}
