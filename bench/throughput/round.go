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
	// CPU an order, in microseconds, of the processes of the side, the servers and the
	// gateway.
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

// site is what all sides of a scenario share.
type site struct {
	bus  *bus
	gw   *child
	csrs *csrs
}

// idleFor is how long the host's load is read before a round.
const idleFor = 300 * time.Millisecond

// measure sends n orders through a side. A round beside which others used more of the
// host than most is repeated twice at most; most 1 repeats none.
func (t *site) measure(ctx context.Context, s *side, n int, most float64) (p pass, err error) {
	for range 3 {
		if p, err = t.once(ctx, s, n); err != nil || max(p.Before, p.Host) <= most {
			break
		}
	}
	return p, err
}

// reading is what was used up to an instant.
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
