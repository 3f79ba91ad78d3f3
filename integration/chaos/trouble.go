package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/integration/harness"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// usualFaults is how the gateway misbehaves all the time.
func usualFaults() []gatewaytest.Fault {
	const enroll, poll, revoke = gatewaytest.OpEnroll, gatewaytest.OpPoll, gatewaytest.OpRevoke
	return []gatewaytest.Fault{
		// Before those that strike at random, some of which let an order take effect:
		// what the gateway refuses, it never takes.
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

// storm is a fault of the whole gateway for a while.
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
	}
	return all[rnd.IntN(len(all))]
}

// trouble is one thing that goes wrong, and is mended when ctx ends.
type trouble struct {
	name string
	do   func(ctx context.Context)
}

// makeTrouble makes several kinds of trouble at once, each by a random sequence of
// its own, until ctx is done; then everything is whole again.
func (s *stage) makeTrouble(ctx context.Context) {
	var all sync.WaitGroup
	kinds := []struct {
		pause time.Duration // between two, on average
		draw  func(*rand.Rand) trouble
	}{
		{2 * time.Second, s.killWorkers},
		{5 * time.Second, s.harmServers},
		{3 * time.Second, s.harmBus},
		{3 * time.Second, s.harmWire},
		{4 * time.Second, s.harmGateway},
	}
	for i, k := range kinds {
		rnd := rand.New(rand.NewPCG(s.opts.seed, 100+uint64(i)))
		all.Go(func() {
			for sleep(ctx, between(rnd, k.pause/2, 3*k.pause/2)) {
				t := k.draw(rnd)
				s.tell("%s", t.name)
				s.count(t.name)
				t.do(ctx)
			}
		})
	}
	all.Wait()
	for _, l := range append(s.bus, s.wire) {
		l.Heal()
	}
	s.gw.SetDown(false)
	_ = s.gw.SetFaults(usualFaults()...) // the rules are sound: they were taken at the start
}

func (s *stage) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strikes[what]++
}

func between(rnd *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rnd.Int64N(int64(high-low)))
}

// killWorkers ends one worker, hard or softly, or freezes it for longer than its
// lease, and starts another one in its place.
func (s *stage) killWorkers(rnd *rand.Rand) trouble {
	i, pause := rnd.IntN(fleetSize), between(rnd, 0, 1500*time.Millisecond)
	s.mu.Lock()
	w := s.workers[i]
	s.mu.Unlock()
	restart := func(ctx context.Context) {
		sleep(ctx, pause)
		w, err := s.site.StartWorker(nil)
		if err != nil {
			s.tell("starting a worker: %v", err)
			return
		}
		s.mu.Lock()
		s.workers[i] = w
		s.mu.Unlock()
	}
	switch n := rnd.IntN(10); {
	case n < 6:
		return trouble{"worker killed", func(ctx context.Context) { w.Kill(); restart(ctx) }}
	case n < 8:
		return trouble{"worker stopped", func(ctx context.Context) {
			if err := w.Stop(20 * time.Second); err != nil {
				s.tell("stopping a worker: %v", err)
			}
			restart(ctx)
		}}
	default:
		return trouble{"worker frozen", func(ctx context.Context) {
			w.Freeze(true)
			sleep(ctx, 4*pause)
			w.Freeze(false)
		}}
	}
}

// harmServers kills a NATS server, freezes it, or moves its leaderships away.
func (s *stage) harmServers(rnd *rand.Rand) trouble {
	server, lasts := s.servers[rnd.IntN(len(s.servers))], between(rnd, 200*time.Millisecond, 2500*time.Millisecond)
	restart := func(ctx context.Context) {
		sleep(ctx, lasts)
		if err := server.Restart(); err != nil {
			s.tell("starting a server: %v", err)
		}
	}
	switch n := rnd.IntN(10); {
	case n < 5:
		return trouble{"server killed", func(ctx context.Context) { server.Kill(); restart(ctx) }}
	case n < 7:
		return trouble{"server stopped", func(ctx context.Context) { server.Stop(); restart(ctx) }}
	case n < 8 && len(s.servers) > 1:
		names := []string{s.site.Layout.Requests, s.site.Layout.Parked, s.site.Layout.Results, "KV_" + s.site.Layout.Orders}
		name := names[rnd.IntN(len(names))]
		return trouble{"leader stepped down", func(ctx context.Context) {
			_, _ = s.site.NATS.Request("$JS.API.STREAM.LEADER.STEPDOWN."+name, nil, time.Second) // in trouble it may fail
		}}
	default:
		return trouble{"server frozen", func(ctx context.Context) {
			server.Freeze(true)
			sleep(ctx, 3*lasts)
			server.Freeze(false)
		}}
	}
}

func (s *stage) harmBus(rnd *rand.Rand) trouble {
	return harm(rnd, "bus", s.bus[rnd.IntN(len(s.bus))], s.bus)
}

func (s *stage) harmWire(rnd *rand.Rand) trouble {
	return harm(rnd, "gateway", s.wire, []*harness.Link{s.wire})
}

// harm disturbs one network, or all of one side: a partition.
func harm(rnd *rand.Rand, name string, one *harness.Link, all []*harness.Link) trouble {
	lasts, delay := between(rnd, 300*time.Millisecond, 4*time.Second), between(rnd, time.Millisecond, 100*time.Millisecond)
	switch rnd.IntN(5) {
	case 0:
		return trouble{name + " cut", func(context.Context) { one.Cut() }}
	case 1:
		return trouble{name + " cut in two", func(ctx context.Context) {
			for _, l := range all {
				l.Stall(true)
			}
			sleep(ctx, lasts)
			for _, l := range all {
				l.Stall(false)
			}
		}}
	case 2:
		return trouble{name + " away", func(ctx context.Context) {
			for _, l := range all {
				l.Refuse(true)
				l.Cut()
			}
			sleep(ctx, lasts)
			for _, l := range all {
				l.Refuse(false)
			}
		}}
	case 3:
		return trouble{name + " stalled, then cut", func(ctx context.Context) {
			one.Stall(true)
			sleep(ctx, lasts/2)
			one.Cut()
			one.Stall(false)
		}}
	default:
		return trouble{name + " slow", func(ctx context.Context) {
			one.Delay(delay)
			sleep(ctx, lasts)
			one.Delay(0)
		}}
	}
}

// harmGateway takes the gateway down, makes a storm, or changes its client pair.
func (s *stage) harmGateway(rnd *rand.Rand) trouble {
	lasts := between(rnd, 300*time.Millisecond, 3*time.Second)
	switch rnd.IntN(4) {
	case 0:
		return trouble{"gateway down", func(ctx context.Context) {
			s.gw.SetDown(true)
			sleep(ctx, lasts)
			s.gw.SetDown(false)
		}}
	case 1:
		return trouble{"key pair rotated", func(context.Context) {
			if err := s.gw.RotateClient(); err != nil {
				s.tell("rotating the key pair: %v", err)
			}
		}}
	default:
		f := storm(rnd)
		return trouble{"gateway " + string(f.Kind), func(ctx context.Context) {
			id, err := s.gw.AddFault(f)
			if err != nil {
				s.tell("adding a fault: %v", err)
				return
			}
			sleep(ctx, lasts)
			s.gw.RemoveFault(id)
		}}
	}
}
