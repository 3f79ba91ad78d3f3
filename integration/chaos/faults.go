package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// usualFaults returns the gateway's permanent faults.
func usualFaults() []gatewaytest.Fault {
	const enroll, poll, revoke = gatewaytest.OpEnroll, gatewaytest.OpPoll, gatewaytest.OpRevoke
	return []gatewaytest.Fault{
		// First the fault that refuses orders: random faults after it may let an order
		// take effect, and a refused order must not take effect.
		{Op: enroll, Kind: gatewaytest.FaultStatus, Status: 400, CNPrefix: "bad-", Message: "no such profile"},
		{Op: enroll, Kind: gatewaytest.FaultLostReply, Fraction: 0.02},
		{Op: enroll, Kind: gatewaytest.FaultLostReply, Fraction: 0.01, WholeConnection: true},
		{Op: enroll, Kind: gatewaytest.FaultCut, Fraction: 0.02},
		{Op: enroll, Kind: gatewaytest.FaultHalfBody, Fraction: 0.01},
		{Op: enroll, Kind: gatewaytest.FaultStatus, Status: 500, Fraction: 0.01},
		{Op: enroll, Kind: gatewaytest.FaultStatus, Status: 502, AfterEffect: true, Fraction: 0.01},
		{Op: enroll, Kind: gatewaytest.FaultStatus, Status: 503, Fraction: 0.05},
		{Op: enroll, Kind: gatewaytest.FaultGarbage, Fraction: 0.01},
		{Op: enroll, Kind: gatewaytest.FaultLatency, Delay: 3 * time.Second, Fraction: 0.02}, // beyond the enroll timeout
		{Op: enroll, Kind: gatewaytest.FaultWrongKey, CNPrefix: "wrong-"},
		{Op: enroll, Kind: gatewaytest.FaultSlowApproval, CNPrefix: "slow-", Delay: 12 * time.Second},
		{Op: poll, Kind: gatewaytest.FaultCut, Fraction: 0.03},
		{Op: poll, Kind: gatewaytest.FaultHalfBody, Fraction: 0.02},
		{Op: poll, Kind: gatewaytest.FaultStatus, Status: 500, Fraction: 0.03},
		{Op: poll, Kind: gatewaytest.FaultUnknownStatus, Fraction: 0.02},
		{Op: revoke, Kind: gatewaytest.FaultLostReply, Fraction: 0.1},
		{Op: revoke, Kind: gatewaytest.FaultStatus, Status: 503, Fraction: 0.1},
	}
}

// storm returns a temporary fault of the gateway, of one of its operations, or of a proxy
// before it.
func storm(rnd *rand.Rand) gatewaytest.Fault {
	all := []gatewaytest.Fault{
		{Kind: gatewaytest.FaultThrottle, RetryAfter: time.Second},
		{Kind: gatewaytest.FaultThrottle},
		{Kind: gatewaytest.FaultStatus, Status: 503, Form: "html"},
		{Kind: gatewaytest.FaultStatus, Status: 503, RetryAfter: time.Second},
		{Kind: gatewaytest.FaultStatus, Status: 401},
		{Kind: gatewaytest.FaultStatus, Status: 500, Fraction: 0.3},
		{Kind: gatewaytest.FaultLatency, Delay: 900 * time.Millisecond},
		{Kind: gatewaytest.FaultResetTLS, Op: gatewaytest.OpConnect},
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 500},
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 404, Form: "spring"},
		{Op: gatewaytest.OpPoll, Kind: gatewaytest.FaultStatus, Status: 404},
		{Op: gatewaytest.OpPoll, Kind: gatewaytest.FaultStatus, Status: 410},
		{Kind: gatewaytest.FaultStatus, Status: 403, Form: "text"},
		{Kind: gatewaytest.FaultGoAway, Fraction: 0.3},
	}
	return all[rnd.IntN(len(all))]
}

// spoilt returns how many answers to enrollments the faults spoilt so that the worker
// cannot know the outcome. A fault of a whole connection counts as all submissions that
// one worker makes at a time.
func spoilt(rules []gatewaytest.Fault) (n int) {
	for _, f := range rules {
		if f.Op == gatewaytest.OpEnroll && f.CNPrefix == "" && (f.Kind != gatewaytest.FaultStatus || f.Status != 503) {
			each := 1
			if f.WholeConnection {
				each = concurrency
			}
			n += f.Fired * each
		}
	}
	return n
}

// fault is one fault. do repairs it before it returns, soon after ctx ends.
type fault struct {
	name string
	most int // orders that it can leave indeterminate, besides those of a worker's death
	do   func(ctx context.Context)
}

// makeFaults makes several kinds of faults concurrently, each in its own random sequence,
// until ctx ends. Then it repairs everything.
func (r *run) makeFaults(ctx context.Context) {
	var all sync.WaitGroup
	kinds := []struct {
		pause time.Duration // mean time between two faults
		draw  func(*rand.Rand) fault
	}{
		{2 * time.Second, r.killWorkers},
		{5 * time.Second, r.harmServers},
		{3 * time.Second, r.harmBus},
		{3 * time.Second, r.harmWire},
		{4 * time.Second, r.harmGateway},
	}
	for i, k := range kinds {
		rnd := rand.New(rand.NewPCG(r.seed, 100+uint64(i)))
		all.Go(func() {
			for testbed.Sleep(ctx, between(rnd, k.pause/2, 3*k.pause/2)) == nil {
				f := k.draw(rnd)
				r.say("%s", f.name)
				r.count(f.name)
				end := r.faults.Begin(f.most)
				f.do(ctx)
				end()
			}
		})
	}
	all.Wait()
	for _, l := range append(r.bus, r.wire) {
		l.Heal()
	}
	r.gateway.SetDown(false)
}

func (r *run) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.struck[what]++
}

func between(rnd *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rnd.Int64N(int64(high-low)))
}

// killWorkers kills or stops one worker and starts another in its place, or freezes one
// for longer than its lease.
func (r *run) killWorkers(rnd *rand.Rand) fault {
	i, pause := rnd.IntN(r.setup.workers), between(rnd, 0, 1500*time.Millisecond)
	w := r.worker(i)
	restart := func(ctx context.Context) {
		_ = testbed.Sleep(ctx, pause)
		if err := r.startWorker(i); err != nil {
			r.say("%v", err)
		}
	}
	switch n := rnd.IntN(10); {
	case n < 6:
		// The site records the fault.
		return fault{"worker killed", 0, func(ctx context.Context) { w.Kill(); restart(ctx) }}
	case n < 8:
		return fault{"worker stopped", r.setup.settings.Submissions(), func(ctx context.Context) {
			if err := w.Stop(20 * time.Second); err != nil {
				r.say("stopping a worker: %v", err)
			}
			restart(ctx)
		}}
	default:
		return fault{"worker frozen", r.setup.settings.Submissions(), func(ctx context.Context) {
			w.Freeze(true)
			_ = testbed.Sleep(ctx, 8*pause) // longer than lease and settle time
			w.Freeze(false)
		}}
	}
}

// harmServers kills a NATS server, freezes it, or moves its leaderships away.
func (r *run) harmServers(rnd *rand.Rand) fault {
	server, lasts := r.cluster.Servers[rnd.IntN(len(r.cluster.Servers))], between(rnd, 200*time.Millisecond, 2500*time.Millisecond)
	restart := func(ctx context.Context) {
		_ = testbed.Sleep(ctx, lasts)
		if err := server.Restart(); err != nil {
			r.say("starting a server: %v", err)
		}
	}
	switch n := rnd.IntN(10); {
	case n < 5:
		return fault{"server killed", r.underWay(), func(ctx context.Context) { server.Kill(); restart(ctx) }}
	case n < 7:
		return fault{"server stopped", r.underWay(), func(ctx context.Context) { server.Stop(); restart(ctx) }}
	case n < 8 && len(r.cluster.Servers) > 1:
		names := []string{r.site.Layout.Requests, r.site.Layout.Parked, r.site.Layout.Results, "KV_" + r.site.Layout.Orders}
		name := names[rnd.IntN(len(names))]
		return fault{"leader stepped down", r.underWay(), func(ctx context.Context) {
			_, _ = r.site.NATS.Request("$JS.API.STREAM.LEADER.STEPDOWN."+name, nil, time.Second) // it may fail amid other faults
		}}
	default:
		return fault{"server frozen", r.underWay(), func(ctx context.Context) {
			server.Freeze(true)
			_ = testbed.Sleep(ctx, 3*lasts)
			server.Freeze(false)
		}}
	}
}

func (r *run) harmBus(rnd *rand.Rand) fault {
	return harm(rnd, "bus", r.underWay(), r.bus[rnd.IntN(len(r.bus))], r.bus)
}

func (r *run) harmWire(rnd *rand.Rand) fault {
	return harm(rnd, "gateway", r.outage(longestHarm), r.wire, []*testbed.Link{r.wire})
}

// longestHarm bounds how long a network is disturbed.
const longestHarm = 4 * time.Second

// harm disturbs one network, or all networks of one side: a partition.
func harm(rnd *rand.Rand, name string, most int, one *testbed.Link, all []*testbed.Link) fault {
	lasts, delay := between(rnd, 300*time.Millisecond, longestHarm), between(rnd, time.Millisecond, 100*time.Millisecond)
	switch rnd.IntN(5) {
	case 0:
		return fault{name + " cut", most, func(context.Context) { one.Cut() }}
	case 1:
		return fault{name + " cut in two", most, func(ctx context.Context) {
			for _, l := range all {
				l.Stall(true)
			}
			_ = testbed.Sleep(ctx, lasts)
			for _, l := range all {
				l.Stall(false)
			}
		}}
	case 2:
		return fault{name + " away", most, func(ctx context.Context) {
			for _, l := range all {
				l.Refuse(true)
				l.Cut()
			}
			_ = testbed.Sleep(ctx, lasts)
			for _, l := range all {
				l.Refuse(false)
			}
		}}
	case 3:
		return fault{name + " stalled, then cut", most, func(ctx context.Context) {
			one.Stall(true)
			_ = testbed.Sleep(ctx, lasts/2)
			one.Cut()
			one.Stall(false)
		}}
	default:
		return fault{name + " slow", most, func(ctx context.Context) {
			one.Jitter(delay/2, delay)
			_ = testbed.Sleep(ctx, lasts)
			one.Jitter(0, 0)
		}}
	}
}

// harmGateway takes the gateway down, makes a storm, or rotates the client's key pair.
func (r *run) harmGateway(rnd *rand.Rand) fault {
	lasts := between(rnd, 300*time.Millisecond, 3*time.Second)
	switch rnd.IntN(4) {
	case 0:
		return fault{"gateway down", r.outage(lasts), func(ctx context.Context) {
			r.gateway.SetDown(true)
			_ = testbed.Sleep(ctx, lasts)
			r.gateway.SetDown(false)
		}}
	case 1:
		return fault{"key pair rotated", 0, func(context.Context) {
			if err := r.gateway.RotateClient(); err != nil {
				r.say("rotating the key pair: %v", err)
			}
		}}
	default:
		f := storm(rnd)
		return fault{"gateway " + string(f.Kind), r.outage(lasts), func(ctx context.Context) {
			id, err := r.gateway.AddFault(f)
			if err != nil {
				r.say("adding a fault: %v", err)
				return
			}
			_ = testbed.Sleep(ctx, lasts)
			r.gateway.RemoveFault(id)
		}}
	}
}
