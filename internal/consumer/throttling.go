package consumer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/throttle"
)

// probeTime bounds one probe.
const probeTime = 35 * time.Second

// throttling decides when this worker may call the gateway. It connects package throttle with
// the fleet through the control bucket.
type throttling struct {
	breakers *throttle.Breakers
	prober   *throttle.Prober
	stops    *throttle.Stops
	rate     *throttle.Rate
	quota    *quota
	control  *control.Bucket
	probe    func(context.Context) error
	metrics  *metrics.Worker
	log      *slog.Logger
	stop     context.Context // set by run

	// learned is closed once the suspensions were read from the control bucket.
	learned chan struct{}
	known   []control.Suspension // the last that were read; only the goroutine of control.Bucket.Run uses it

	// recheckMu is held by the one probe of a gateway that answered a call with 403.
	recheckMu   sync.Mutex
	recheckedAt time.Time // begin of the last probe
	recheckErr  error     // of that probe
}

func newThrottling(cfg *Config, bucket *control.Bucket, gw Gateway, log *slog.Logger) *throttling {
	t := &throttling{stops: new(throttle.Stops), learned: make(chan struct{}), quota: newQuota(), control: bucket, metrics: cfg.Metrics, log: log, stop: context.Background()}
	t.rate = throttle.NewRate(cfg.Rate, cfg.FleetRate)
	t.probe = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		err := gw.Probe(ctx)
		if wait := pauseOf(err); wait > 0 {
			t.askedToPause(ctx, wait, err)
		}
		return err
	}
	t.prober = throttle.NewProber(t.probe, t.stops, t.probed)
	t.breakers = throttle.NewBreakers(throttle.Config{
		CAs: []string{cfg.CAID}, Shared: bucket, Prober: t.prober, Stops: t.stops, OnChange: t.changed,
	})
	for _, op := range []throttle.Operation{throttle.Enroll, throttle.Poll, throttle.Revoke, throttle.Lookup} {
		t.metrics.Breaker(string(op), cfg.CAID, throttle.Closed.String()) // the initial state
	}
	return t
}

// run runs the prober, the breakers and the control bucket until stop is done. compare is
// control.Handlers.Compare.
func (t *throttling) run(stop context.Context, compare func(context.Context) error, aside *sync.WaitGroup) {
	t.stop = stop
	aside.Go(func() { t.prober.Run(stop) })
	aside.Go(func() { t.breakers.Run(stop) })
	aside.Go(func() {
		t.control.Run(stop, control.Handlers{
			Workers: func(n int) {
				t.rate.SetWorkers(n)
				t.quota.setWorkers(n)
			},
			Paused: func(left time.Duration) {
				if t.stops.Pause(left) {
					t.metrics.Paused(t.stops.PausedUntil())
				}
			},
			PauseEnded:    func() { t.stops.EndPause(); t.metrics.Paused(time.Time{}) },
			Suspended:     t.suspended,
			BreakerOpened: t.breakers.Opened,
			BreakerClosed: t.breakers.ClosedBy,
			Synced:        t.breakers.Synced,
			Compare:       compare,
		})
	})
}

// operation returns the operation whose breaker a call passes, and the caller for the rate.
func operation(op order.Op) (throttle.Operation, throttle.Caller) {
	switch op {
	case order.OpPoll:
		return throttle.Poll, throttle.ForPoll
	case order.OpRevoke:
		return throttle.Revoke, throttle.ForRevocation
	case order.OpLookUp:
		return throttle.Lookup, throttle.ForPoll
	}
	return throttle.Enroll, throttle.ForRequest
}

// wait returns when a lane may fetch. It returns the cause of ctx when ctx ends first. A lane
// of mixed operations may always fetch, unless it is suspended.
func (t *throttling) wait(ctx context.Context, l *lane) error {
	return t.breakers.Wait(ctx, l.of, breakerOf(l.op))
}

// room returns how many messages a lane may fetch, from one to n. Messages beyond that would go
// back to the server and count as delivered.
func (t *throttling) room(l *lane, n int) int {
	return max(1, min(n, t.breakers.Room(l.of, breakerOf(l.op))))
}

// breakerOf is the operation of a lane, "" when its messages need different ones.
func breakerOf(op order.Op) throttle.Operation {
	if op == "" {
		return ""
	}
	o, _ := operation(op)
	return o
}

// permit allows one call. It holds one of the lane's concurrent calls and a permit of the
// breaker. Done returns both; only the first Done counts.
type permit struct {
	*throttle.Permit
	calls chan struct{} // nil: the lane does not count this call
	once  sync.Once
}

// Done reports how the call ended, and frees its place in the lane.
func (p *permit) Done(o throttle.Outcome) {
	p.once.Do(func() {
		p.Permit.Done(o)
		if p.calls != nil {
			<-p.calls
		}
	})
}

// admit waits for the permit of one call. It returns nil for a call that does not go to the
// gateway. It first waits for room in calls, then asks the breaker: a waiting call must not
// hold a permit that an opening breaker has cancelled. The error is a *throttle.OpenError when
// the call must wait, or the cause of a stop.
func (t *throttling) admit(ctx context.Context, c *order.Call, call throttle.Scope, calls chan struct{}) (*permit, error) {
	if c.Op == order.OpTarget {
		return nil, nil
	}
	// A message that waits here goes back as soon as the worker stops.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.stop, func() { cancel(errStopping) })()
	if calls != nil {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case calls <- struct{}{}:
		}
	}
	op, caller := operation(c.Op)
	breaker, err := t.breakers.Admit(ctx, op, call)
	if err != nil {
		if calls != nil {
			<-calls
		}
		return nil, err
	}
	p := &permit{Permit: breaker, calls: calls}
	if err := t.rate.Wait(ctx, caller); err != nil {
		p.Done(throttle.None())
		return nil, err
	}
	return p, nil
}

// seen reports to breaker, fleet and metrics how a call ended. status is the HTTP status of a
// call without an error. It returns true when the gateway forbids only this call: it answered
// 403, but it answers the probe.
func (t *throttling) seen(ctx context.Context, permit *permit, op order.Op, begun time.Time, status int, err error) (forbidden bool) {
	e, failed := errors.AsType[*gateway.Error](err)
	if failed {
		status = e.HTTPStatus
		t.metrics.GatewayError(e.Class)
	}
	t.metrics.Call(string(op), status, time.Since(begun))
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		permit.Done(throttle.None()) // our own stop interrupted it, not the gateway
		return false
	}
	if wait := pauseOf(err); wait > 0 {
		t.askedToPause(ctx, wait, err)
	}
	fate := gateway.FateOf(err)
	forbidden = failed && fate == gateway.Unauthorized && e.HTTPStatus == http.StatusForbidden && t.recheck(ctx) == nil
	if forbidden {
		fate = gateway.Refused // the client lacks the right, or the profile
	}
	permit.Done(outcome(op, fate, err))
	return forbidden
}

// recheck probes a gateway that has just answered a call with 403. Calls that were answered
// before a probe began share it: a burst of them costs one or two probes.
func (t *throttling) recheck(ctx context.Context) error {
	answered := time.Now()
	t.recheckMu.Lock()
	defer t.recheckMu.Unlock()
	if !t.recheckedAt.After(answered) {
		t.recheckedAt = time.Now()
		t.recheckErr = t.probe(ctx)
	}
	return t.recheckErr
}

// outcome is what an answer says about the gateway's health.
func outcome(op order.Op, fate gateway.Fate, err error) throttle.Outcome {
	switch fate {
	case gateway.NotAccepted, gateway.Unknown, gateway.Unreadable:
		return throttle.Bad(err)
	case gateway.Refused, gateway.NotFound:
		if op == order.OpPoll {
			// The gateway accepted the order before. If it refuses many polls, that is an
			// outage.
			return throttle.Bad(err)
		}
	case gateway.Throttled:
		return throttle.None()
	case gateway.Unauthorized:
		return throttle.Unauthorized(err)
	}
	return throttle.Good()
}

// askedToPause pauses the calls of the whole fleet, as the gateway asked.
func (t *throttling) askedToPause(ctx context.Context, wait time.Duration, why error) {
	if t.stops.Pause(wait) {
		t.log.WarnContext(ctx, "the gateway asked for a pause", "wait", wait, "err", why)
		t.metrics.Paused(t.stops.PausedUntil())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	if err := t.control.Pause(ctx, wait); err != nil {
		t.log.WarnContext(ctx, "sharing the pause; only this worker pauses", "err", err)
	}
}

// pauseOf returns the pause that the gateway asks for, 0 for none. A Retry-After about one
// order is no pause.
func pauseOf(err error) time.Duration {
	e, ok := errors.AsType[*gateway.Error](err)
	if !ok || e.RetryAfter <= 0 && e.Fate != gateway.Throttled || e.Fate == gateway.Refused || e.Fate == gateway.NotFound {
		return 0
	}
	return max(e.RetryAfter, time.Second)
}

func (t *throttling) probed(c throttle.ProberChange) {
	if c.Ready {
		t.log.Info("the gateway answers; working", "outage", c.Lasted.Round(time.Millisecond))
		t.metrics.Gateway(true, "")
		return
	}
	text, reason := "the gateway does not answer; requests wait", "outage"
	if gateway.FateOf(c.Cause) == gateway.Unauthorized {
		text, reason = "the gateway refuses the client's credentials; requests wait", "credentials"
		if pair := interface{ Credentials() bool }(nil); errors.As(c.Cause, &pair) && pair.Credentials() {
			text = "the client's key pair cannot be used; requests wait"
		}
	}
	t.log.Warn(text, "err", c.Cause)
	t.metrics.Gateway(false, reason)
}

func (t *throttling) changed(c throttle.Change) {
	if c.Producer != "" {
		if c.To == throttle.Open {
			t.log.Warn("breaker opened for one producer: its calls wait, since the gateway answers badly to them alone", "operation", string(c.Operation), "ca", c.CA, "producer", c.Producer, "err", c.Cause)
		}
		return
	}
	t.metrics.Breaker(string(c.Operation), c.CA, c.To.String())
	switch c.To {
	case throttle.Open:
		t.log.Warn("breaker opened: calls wait", "operation", string(c.Operation), "ca", c.CA, "remote", c.Remote, "err", c.Cause)
	case throttle.Closed:
		t.log.Info("breaker closed", "operation", string(c.Operation), "ca", c.CA, "outage", c.Lasted.Round(time.Millisecond))
	}
}
