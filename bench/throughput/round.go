package main

import (
	"context"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// pass is one round of one side.
type pass struct {
	Rate float64 `json:"orders_per_second"`
	// CPU time of an order, in microseconds, in the processes of the side, the servers
	// and the gateway.
	CPU     float64 `json:"cpu_us"`
	Servers float64 `json:"servers_cpu_us"`
	Gateway float64 `json:"gateway_cpu_us"`
	Mallocs float64 `json:"allocations"`
	Peak    int64   `json:"peak_rss_bytes"`
	// Before and Host are the share of the host's cores that others used, before the
	// round and during it.
	Before float64 `json:"host_busy_before"`
	Host   float64 `json:"host_busy"`
}

// site is the part of a scenario that all sides share.
type site struct {
	bus  *bus
	gw   *child
	csrs *csrs
}

// idleFor is how long the host's load is measured before a round.
const idleFor = 300 * time.Millisecond

// measure sends n orders through a side. It repeats the round at most twice if others
// used more of the host than most; a most of 1 repeats no round.
func (t *site) measure(ctx context.Context, s *side, n int, most float64) (p pass, err error) {
	for range 3 {
		if p, err = t.once(ctx, s, n); err != nil || max(p.Before, p.Host) <= most {
			break
		}
	}
	return p, err
}

// reading holds the usage up to one time.
type reading struct {
	busy, all, self, side, servers, gateway time.Duration
	mallocs                                 float64
	peak                                    int64
}

func (t *site) read(ctx context.Context, s *side) (r reading, err error) {
	note := func(e error) {
		if err == nil {
			err = e
		}
	}
	var e error
	r.side, r.mallocs, r.peak, e = s.usage(ctx)
	note(e)
	r.servers, e = t.bus.cpu()
	note(e)
	gw, e := t.gw.Usage()
	note(e)
	r.gateway = gw.CPU
	r.self, e = ownCPU()
	note(e)
	r.busy, r.all, e = hostCPU()
	note(e)
	return r, err
}

func (t *site) once(ctx context.Context, s *side, n int) (p pass, err error) {
	ids, csrs := t.csrs.next(n)
	if err := s.road.fill(ctx, ids, csrs); err != nil {
		return p, err
	}
	busy, all, err := hostCPU()
	if err != nil {
		return p, err
	}
	if err := testbed.Sleep(ctx, idleFor); err != nil {
		return p, err
	}
	begun, err := t.read(ctx, s)
	if err != nil {
		return p, err
	}
	p.Before = share(begun.busy-busy, begun.all-all, 0)
	if p.Rate, err = s.road.drain(ctx, n); err != nil {
		return p, fmt.Errorf("%s: %w", s.name, err)
	}
	ended, err := t.read(ctx, s)
	if err != nil {
		return p, err
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	p.CPU, p.Servers, p.Gateway = each(ended.side-begun.side), each(ended.servers-begun.servers), each(ended.gateway-begun.gateway)
	p.Mallocs, p.Peak = (ended.mallocs-begun.mallocs)/float64(n), ended.peak
	ours := ended.side - begun.side + ended.servers - begun.servers + ended.gateway - begun.gateway + ended.self - begun.self
	p.Host = share(ended.busy-begun.busy, ended.all-begun.all, ours)
	return p, nil
}
