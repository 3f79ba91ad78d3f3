package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// binary is one build of the worker.
type binary struct{ name, path string }

// mostBusy is the share of the host that others may use during a round.
const mostBusy = 0.1

// measurement is a complete run.
type measurement struct {
	*options
	dir    string
	bins   []binary
	csrs   *csrs
	report *report
	say    func(string, ...any)
}

// all measures every row. Rows with the same servers share them.
func (m *measurement) all(ctx context.Context) error {
	var b *bus
	on := ""
	defer func() {
		if b != nil {
			b.close()
		}
	}()
	for i, sc := range scenarios(m.quick) {
		if !strings.Contains(sc.Name, m.only) {
			continue
		}
		if sc.bus() != on {
			if b != nil {
				b.close()
			}
			var err error
			if b, err = openBus(filepath.Join(m.dir, fmt.Sprintf("%d-%s", i, sc.bus())), sc.Replicas, sc.Sync); err != nil {
				return err
			}
			on = sc.bus()
		}
		if err := m.row(ctx, b, i, sc); err != nil {
			return fmt.Errorf("%s: %w", sc.Name, err)
		}
	}
	return nil
}

// row measures one scenario.
func (m *measurement) row(ctx context.Context, b *bus, i int, sc scenario) error {
	var ready gatewayReady
	gw, err := startChild("gateway", gatewayConfig{sc.Latency, sc.HTTP1, filepath.Join(m.dir, fmt.Sprintf("gateway-%d", i))}, &ready)
	if err != nil {
		return err
	}
	defer gw.Kill()
	if i == 0 {
		m.say("the gateway alone")
		if m.report.GatewayAlone, err = alone(ctx, gw, ready, m.csrs.all[:4000], sc.InFlight); err != nil {
			return err
		}
	}
	var sides []*side
	defer func() {
		for _, s := range sides {
			s.close()
		}
	}()
	add := func(s *side, err error) error {
		if err == nil {
			sides = append(sides, s)
		}
		return err
	}
	err = add(startLoop(ctx, b, "bare", &sc, ready, true))
	if i == 0 {
		err = errors.Join(err, add(startLoop(ctx, b, "bus", &sc, ready, false)))
	}
	for _, bin := range m.bins {
		err = errors.Join(err, add(startWorkers(ctx, b, bin.name, bin.path, m.dir, &sc, ready)))
	}
	if err != nil {
		return err
	}
	if i == 0 {
		u, err := named(sides, "worker").workers[0].Usage()
		if err != nil {
			return err
		}
		m.report.AtRest = u.RSS
	}
	t := &site{b, gw, m.csrs}
	r := &row{Scenario: sc, Passes: map[string][]pass{}}
	m.report.Rows = append(m.report.Rows, r)
	for _, s := range sides { // warm up connections, caches and heaps before the first round
		if _, err := t.once(ctx, s, sc.Orders/8); err != nil {
			return err
		}
	}
	most := mostBusy
	if m.quick {
		most = 1
	}
	for round := range m.rounds {
		for k := range sides {
			s := sides[(k+round)%len(sides)] // vary the order of the sides
			stop := m.profile(ctx, s, i == 0 && round == m.rounds-1)
			p, err := t.measure(ctx, s, sc.Orders, most)
			if err = errors.Join(err, stop()); err != nil {
				return err
			}
			r.Passes[s.name] = append(r.Passes[s.name], p)
			m.say("%s: %s %.0f/s, %.0f µs and %.0f allocations an order, others %.0f %% of the host", sc.Name, s.name, p.Rate, p.CPU, p.Mallocs, 100*p.Host)
		}
	}
	if sc.Polls && m.latency > 0 {
		m.say("polls of %d orders that wait", waiting)
		if m.report.Polls, err = m.measurePolls(ctx, b, sc, ready); err != nil {
			return fmt.Errorf("polls: %w", err)
		}
	}
	if i != 0 || m.latency <= 0 {
		return nil
	}
	m.say("added latency")
	if m.report.Latency, err = addedLatency(ctx, sides, ready, m.csrs, m.latency); err != nil || m.quick {
		return err
	}
	m.say("revocations, alone and with %d issue requests queued", queued)
	m.report.Revocations, err = measureRevocations(ctx, named(sides, "worker"), m.csrs, m.latency/2)
	return err
}

// profile takes a CPU profile of a worker over the next seconds, and its allocations.
func (m *measurement) profile(ctx context.Context, s *side, wanted bool) (stop func() error) {
	if !wanted || m.profiles == "" || len(s.workers) == 0 {
		return func() error { return nil }
	}
	var g errgroup.Group
	file := func(kind string) string { return filepath.Join(m.profiles, s.name+"-"+kind+".pprof") }
	g.Go(func() error {
		if err := os.MkdirAll(m.profiles, 0o755); err != nil {
			return err
		}
		return s.workers[0].Profile(ctx, "profile?seconds=8", file("cpu"))
	})
	return func() error {
		return errors.Join(g.Wait(), s.workers[0].Profile(ctx, "allocs", file("allocs")))
	}
}

// alone posts all requests to the gateway, inFlight at a time.
func alone(ctx context.Context, gw *child, ready gatewayReady, csrs [][]byte, inFlight int) (p pass, err error) {
	post, err := ready.poster(inFlight)
	if err != nil {
		return p, err
	}
	before, err := gw.Usage()
	if err != nil {
		return p, err
	}
	begun := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for _, csr := range csrs {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			_, err := post(csr)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return p, err
	}
	p.Rate = float64(len(csrs)) / time.Since(begun).Seconds()
	after, err := gw.Usage()
	p.Gateway = float64((after.CPU - before.CPU).Microseconds()) / float64(len(csrs))
	return p, err
}
