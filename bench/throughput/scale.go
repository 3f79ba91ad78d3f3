package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// scaled is how many orders each point of a series measures.
const scaled = 3000

// point is one measurement of a series: the cost of an order at one value of X.
type point struct {
	X       int     `json:"x"`
	Rate    float64 `json:"orders_per_second"`
	Worker  float64 `json:"worker_cpu_us"`
	Servers float64 `json:"servers_cpu_us"`
	RSS     int64   `json:"worker_rss_bytes"`
}

// series shows how the cost of an order grows with one quantity.
type series struct {
	Name   string  `json:"name"`
	Of     string  `json:"of"` // unit of X
	Points []point `json:"points"`
}

// growth defines a series of the plots. Each point has its own servers and workers.
type growth struct {
	of   string
	name string
	xs   []int
	// scenario changes the row for one point; prepare creates the state that the point
	// needs.
	scenario func(*scenario, int)
	prepare  func(context.Context, *measurement, *side, int) error
	// fill publishes the measured requests.
	fill func(context.Context, *measurement, *side, int) error
}

func growths(deep bool) []growth {
	fill := func(ctx context.Context, m *measurement, s *side, _ int) error {
		ids, csrs := m.csrs.next(scaled)
		return s.road.fill(ctx, ids, csrs)
	}
	depth := func(ctx context.Context, m *measurement, s *side, x int) error {
		for left := x; left > 0; left -= 10_000 {
			ids, csrs := m.csrs.next(min(left, 10_000))
			if err := s.road.fill(ctx, ids, csrs); err != nil {
				return err
			}
		}
		return nil
	}
	all := []growth{
		{of: "requests queued", name: "queue", xs: []int{5_000, 50_000, 500_000}, fill: depth},
		{of: "producers", name: "producers", xs: []int{1, 10, 100, 1000}, fill: func(ctx context.Context, m *measurement, s *side, x int) error {
			ids, csrs := m.csrs.next(scaled)
			return s.road.fillFrom(ctx, ids, csrs, x)
		}},
		{of: "workers, gateway at 100 ms", name: "workers", xs: []int{1, 2, 4}, fill: fill, scenario: func(sc *scenario, x int) {
			sc.Workers, sc.Latency = x, 100*time.Millisecond
		}},
		{of: "orders parked", name: "parked", xs: []int{1_000, 10_000, 100_000}, fill: fill, prepare: park, scenario: func(sc *scenario, _ int) {
			sc.env = []string{"ENTRUST_WORKER_POLL_FIRST=1h", "ENTRUST_WORKER_POLL_MAX=1h", "CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS=86400"}
		}},
	}
	if deep {
		all[0].xs, all[3].xs = append(all[0].xs, 1_000_000), append(all[3].xs, 500_000)
	}
	return all
}

// scale measures the series.
func (m *measurement) scale(ctx context.Context) error {
	for i, g := range growths(m.deep) {
		s := &series{Name: g.name, Of: g.of}
		m.report.Scale = append(m.report.Scale, s)
		for k, x := range g.xs {
			p, err := m.point(ctx, g, x, filepath.Join(m.dir, fmt.Sprintf("scale-%d-%d", i, k)))
			if err != nil {
				return fmt.Errorf("%d %s: %w", x, g.of, err)
			}
			s.Points = append(s.Points, p)
			m.say("%d %s: %.0f/s, %.0f µs an order of the worker, %.0f of the server, %d MiB", x, g.of, p.Rate, p.Worker, p.Servers, p.RSS>>20)
		}
	}
	return nil
}

// point measures one point on its own servers.
func (m *measurement) point(ctx context.Context, g growth, x int, dir string) (point, error) {
	p := point{X: x}
	sc := scenarios(true)[0]
	if g.scenario != nil {
		g.scenario(&sc, x)
	}
	b, err := openBus(filepath.Join(dir, "nats"), 1, false)
	if err != nil {
		return p, err
	}
	defer b.close()
	var ready gatewayReady
	gw, err := startChild("gateway", gatewayConfig{sc.Latency, false, filepath.Join(dir, "gateway")}, &ready)
	if err != nil {
		return p, err
	}
	defer gw.Kill()
	s, err := startWorkers(ctx, b, "scale", m.bins[0].path, dir, &sc, ready)
	if err != nil {
		return p, err
	}
	defer s.close()
	t := &site{b, gw, m.csrs}
	if _, err := t.once(ctx, s, scaled/4); err != nil { // warm up connections, caches and heaps
		return p, err
	}
	if g.prepare != nil {
		if err := g.prepare(ctx, m, s, x); err != nil {
			return p, err
		}
	}
	if err := g.fill(ctx, m, s, x); err != nil {
		return p, err
	}
	begun, err := t.read(ctx, s)
	if err != nil {
		return p, err
	}
	if p.Rate, err = s.road.drainTo(ctx, scaled, false); err != nil {
		return p, err
	}
	ended, err := t.read(ctx, s)
	if err != nil {
		return p, err
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / scaled }
	p.Worker, p.Servers = each(ended.side-begun.side), each(ended.servers-begun.servers)
	u, err := s.workers[0].Usage()
	p.RSS = u.RSS
	return p, err
}

// hold makes n orders wait for approval: the simulator holds orders whose name begins
// with "hold".
func hold(ctx context.Context, s *side, n int) error {
	const batch = 10_000
	for done := 0; done < n; done += batch {
		ids := make([]string, min(batch, n-done))
		csrs := make([][]byte, len(ids))
		for i := range ids {
			ids[i] = fmt.Sprintf("hold-%07d", done+i)
			var err error
			if csrs[i], err = oracle.NewCSR(ids[i] + ".bench.example"); err != nil {
				return err
			}
		}
		if err := s.road.fill(ctx, ids, csrs); err != nil {
			return err
		}
		if _, err := s.road.bus.js.ResumeConsumer(ctx, s.road.requests, s.road.consumer); err != nil {
			return err
		}
		cons, err := s.road.bus.js.Consumer(ctx, s.road.requests, s.road.consumer)
		if err != nil {
			return err
		}
		if err := testbed.Until(ctx, "orders are parked", func() (bool, error) {
			c, err := cons.Info(ctx)
			return err == nil && c.NumPending == 0 && c.NumAckPending == 0, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// park makes n orders wait for approval, and checks that each has its wake-up.
func park(ctx context.Context, _ *measurement, s *side, n int) error {
	if err := hold(ctx, s, n); err != nil {
		return err
	}
	parked, err := s.road.bus.js.Stream(ctx, layout(s.road.prefix, 1).Parked)
	if err != nil {
		return err
	}
	info, err := parked.Info(ctx, jetstream.WithSubjectFilter(s.road.prefix+".parked.>"))
	if err == nil && len(info.State.Subjects) != n {
		err = fmt.Errorf("%d orders are parked", len(info.State.Subjects))
	}
	return err
}
