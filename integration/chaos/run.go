package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// run is one seed with everything that it uses.
type run struct {
	options
	setup   setup
	tools   *tools
	begun   time.Time
	dir     string // directory of the servers
	cluster *testbed.Cluster
	gateway *gatewaytest.Server
	site    *rig.Site
	faults  *oracle.Faults
	// Networks between workers and servers, and between workers and gateway, if
	// setup.links is set.
	bus  []*testbed.Link
	wire *testbed.Link

	parked   []*oracle.Order // of the scenario parking
	deployed *atomic.Int32   // of the scenario rolling: number of workers of this revision

	mu      sync.Mutex
	workers []*testbed.Worker
	struck  map[string]int // number of faults by name
}

// setup configures a run.
type setup struct {
	servers, workers int
	links            bool // workers reach servers and gateway over networks that can be disturbed
	// worker changes the settings of the i-th worker. It may be nil.
	worker func(i int, s *rig.Settings)
	// server is the binary of the NATS servers; empty: the version that chaos was built
	// with.
	server string
	// others says that producers without an order of the run use the bus too.
	others   bool
	gateway  gatewaytest.Config
	settings rig.Settings
}

// workers is the number of workers in the scenario all.
const workers = 3

// concurrency is how many orders a worker of the scenario all submits concurrently.
const concurrency = 16

// settling bounds the time until the bus is at rest after the faults. If a breaker's
// canaries got bad answers until the end, the next canary comes after five minutes.
// Orders that met that canary wait as long again. A schedule that the server lost is
// found in two minutes.
const settling = 12 * time.Minute

// run plays the seed and returns its tally.
func (o options) run(ctx context.Context, t *tools) (found *tally, err error) {
	s, err := scenarioOf(o.name)
	if err != nil {
		return nil, err
	}
	r := &run{options: o, tools: t, faults: new(oracle.Faults), struck: map[string]int{}}
	defer func() { err = errors.Join(err, r.close()) }()
	if r.setup, err = s.setup(ctx, r); err != nil {
		return nil, err
	}
	bin, err := t.worker(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	open, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := r.open(open, bin, r.setup); err != nil {
		return nil, err
	}
	r.begun = time.Now()
	found, err = s.play(ctx, r)
	if found != nil {
		found.took = time.Since(begun)
	}
	return found, err
}

// setupAll depends on the seed.
func setupAll(_ context.Context, r *run) (setup, error) {
	rnd := rand.New(rand.NewPCG(r.seed, 1))
	dialect := gatewaytest.CertCtl
	if rnd.IntN(2) == 0 {
		dialect = gatewaytest.CAGW
	}
	servers := r.servers
	if servers == 0 {
		servers = []int{1, 1, 3}[r.seed%3]
	}
	lost := []string{"hold", "hold", "resubmit"}[rnd.IntN(3)]
	r.say("servers %d, dialect %s, on_lost_reply %s", servers, dialect, lost)
	return setup{
		servers: servers, workers: workers, links: true,
		gateway: gatewaytest.Config{
			Dialect: dialect, Seed: r.seed, ApproveAfter: 3 * time.Second,
			Latency: 5 * time.Millisecond, LatencyJitter: 300 * time.Millisecond, Faults: usualFaults(),
		},
		settings: rig.Settings{OnLostReply: lost, Concurrency: concurrency, MaxWait: 20 * time.Minute},
	}, nil
}

// open starts servers, gateway and workers, and puts networks between them.
func (r *run) open(ctx context.Context, bin string, how setup) (err error) {
	if err := os.MkdirAll(r.logs, 0o755); err != nil {
		return err
	}
	if r.dir, err = os.MkdirTemp("", "chaos-nats-"); err != nil {
		return err
	}
	if r.cluster, err = testbed.RunCluster(testbed.ClusterConfig{Dir: r.dir, Size: how.servers, Process: true, Binary: how.server}); err != nil {
		return err
	}
	if r.gateway, err = gatewaytest.Start(how.gateway); err != nil {
		return err
	}
	cfg := rig.Config{
		WorkerNATS: r.cluster.URL(), Gateway: r.gateway, Binary: bin, Dir: r.logs, Replicas: how.servers,
		Settings: how.settings, Faults: r.faults,
	}
	if how.links {
		if err := r.link(&cfg); err != nil {
			return err
		}
	}
	// A producer notices at once that its server was killed, and within two pings that it
	// hangs.
	if cfg.NATS, err = r.cluster.Connect(nats.PingInterval(time.Second)); err != nil {
		return err
	}
	if r.site, err = rig.Open(ctx, cfg); err != nil {
		return err
	}
	for i := range how.workers {
		r.workers = append(r.workers, nil)
		if err := r.startWorker(i); err != nil {
			return err
		}
	}
	return nil
}

// startWorker starts the i-th worker. The previous one must have ended.
func (r *run) startWorker(i int) error {
	w, err := r.site.StartWorker(func(s *rig.Settings) {
		if r.setup.worker != nil {
			r.setup.worker(i, s)
		}
	})
	if err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.workers[i] = w
	return nil
}

// worker returns the current process of the i-th worker.
func (r *run) worker(i int) *testbed.Worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.workers[i]
}

// link puts networks before the servers and the gateway.
func (r *run) link(cfg *rig.Config) (err error) {
	if r.wire, err = testbed.NewLink(r.gateway.Addr()); err != nil {
		return err
	}
	var links []string
	for _, server := range r.cluster.Servers {
		u, err := url.Parse(server.URL)
		if err != nil {
			return err
		}
		l, err := testbed.NewLink(u.Host)
		if err != nil {
			return err
		}
		r.bus = append(r.bus, l)
		links = append(links, "nats://"+l.Addr())
	}
	cfg.WorkerNATS, cfg.WorkerGateway = strings.Join(links, ","), r.wire.Addr()
	return nil
}

// playAll plays orders and faults of every kind.
func playAll(ctx context.Context, r *run) (*tally, error) {
	steps := draw(r.options)
	harm, cancel := context.WithTimeout(ctx, r.span*2/3)
	defer cancel()
	var faults sync.WaitGroup
	faults.Go(func() { r.makeFaults(harm) })
	// Orders may still wait for each other after the faults.
	play, end := context.WithTimeout(ctx, r.span*2/3+settling)
	defer end()
	orders := r.play(play, steps)
	faults.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r.finish(ctx, orders)
}

// close ends everything that was started.
func (r *run) close() error {
	if r.site != nil {
		r.site.Close()
		r.site.NATS.Close()
	}
	for _, l := range append(r.bus, r.wire) {
		if l != nil {
			l.Close()
		}
	}
	var err error
	if r.gateway != nil {
		err = r.gateway.Close()
	}
	if r.cluster != nil {
		r.cluster.Stop()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// say prints a line about the run, with -v.
func (r *run) say(format string, args ...any) {
	if !r.verbose {
		return
	}
	at := time.Duration(0)
	if !r.begun.IsZero() {
		at = time.Since(r.begun)
	}
	fmt.Fprintf(os.Stderr, "seed=%d %6.2fs %s\n", r.seed, at.Seconds(), fmt.Sprintf(format, args...))
}
