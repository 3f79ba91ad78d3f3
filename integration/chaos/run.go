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

// run is one seed, and everything that it needs.
type run struct {
	options
	setup   setup
	tools   *tools
	begun   time.Time
	dir     string // of the servers' files
	cluster *testbed.Cluster
	gateway *gatewaytest.Server
	site    *rig.Site
	faults  *oracle.Faults
	// Networks between workers and the servers, and workers and the gateway, where
	// there are any.
	bus  []*testbed.Link
	wire *testbed.Link

	parked   []*oracle.Order // of the scenario parking
	deployed *atomic.Int32   // of the scenario rolling: workers of this revision, the first ones

	mu      sync.Mutex
	workers []*testbed.Worker
	struck  map[string]int // faults by name
}

// setup is what a run is made of.
type setup struct {
	servers, workers int
	links            bool // workers reach servers and gateway over networks that can be harmed
	// worker changes the settings of the i-th worker. It may be nil.
	worker func(i int, s *rig.Settings)
	// server is the binary of the NATS servers; empty for the version that chaos was
	// built with.
	server string
	// others says that producers without an order of the run use the bus too.
	others   bool
	gateway  gatewaytest.Config
	settings rig.Settings
}

// workers is how many there are in the scenario all.
const workers = 3

// concurrency is how many orders a worker of the scenario all submits at a time.
const concurrency = 16

// settling bounds how long everything may take after the faults. A breaker whose canaries
// met bad answers until the end asks again after five minutes, and what met that canary
// waits as long once more; a schedule that the server lost is found in two minutes.
const settling = 12 * time.Minute

// run plays the seed and returns what it came to.
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

// setupAll is drawn by the seed.
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

// open starts servers, gateway and workers, and puts networks between.
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
	// A producer whose server is killed hears of it at once; one whose server hangs,
	// within two pings.
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

// startWorker starts the i-th worker, where none runs in its place.
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

// worker is the i-th worker's process, as it is now.
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
	// Orders may still wait for each other when the faults are over.
	play, end := context.WithTimeout(ctx, r.span*2/3+settling)
	defer end()
	orders := r.play(play, steps)
	faults.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r.finish(ctx, orders)
}

// close ends whatever was started.
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

// say prints a line of what happens, with --v.
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
