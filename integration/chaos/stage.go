package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/integration/harness"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/natstest"
)

// stage is everything that one run needs.
type stage struct {
	opts    options
	begun   time.Time
	site    *harness.Site
	gw      *gatewaytest.Server
	servers []*natstest.Server
	// Networks between workers and the servers, and workers and the gateway.
	bus  []*harness.Link
	wire *harness.Link

	mu      sync.Mutex
	workers []*harness.Worker
	strikes map[string]int
}

// fleetSize is the number of workers.
const fleetSize = 3

// settling bounds how long everything may take after the trouble. The longest waits
// of a worker are half a minute; a slot that the server lost is found in two.
const settling = 150 * time.Second

// chaos is one run.
func chaos(ctx context.Context, o options, bin string) (*harness.Verdict, error) {
	if err := os.MkdirAll(o.logs, 0o755); err != nil {
		return nil, err
	}
	s := &stage{opts: o, strikes: map[string]int{}}
	defer s.close()
	if err := s.build(ctx, bin); err != nil {
		return nil, err
	}
	for range fleetSize {
		w, err := s.site.StartWorker(nil)
		if err != nil {
			return nil, err
		}
		s.workers = append(s.workers, w)
	}
	s.begun = time.Now()
	trouble, cancel := context.WithTimeout(ctx, o.span*2/3)
	defer cancel()
	cast := newCast(o, o.span*2/3)
	var parts sync.WaitGroup
	parts.Go(func() { s.makeTrouble(trouble) })
	// Orders may still wait for each other when the trouble is over.
	play, end := context.WithTimeout(ctx, o.span*2/3+settling)
	defer end()
	orders := cast.play(play, s)
	parts.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.tell("all is published; %v", s.strikes)
	rest, end := context.WithTimeout(ctx, settling)
	defer end()
	return s.site.Judge(rest, orders)
}

// build starts servers and gateway, and puts networks before them.
func (s *stage) build(ctx context.Context, bin string) error {
	rnd := rand.New(rand.NewPCG(s.opts.seed, 1))
	dialect := gatewaytest.CertCtl
	if rnd.IntN(2) == 0 {
		dialect = gatewaytest.CAGW
	}
	servers := s.opts.servers
	if servers == 0 {
		servers = []int{1, 1, 3}[s.opts.seed%3]
	}
	lost := []string{"hold", "hold", "resubmit"}[rnd.IntN(3)]
	s.tell("servers %d, dialect %s, on_lost_reply %s", servers, dialect, lost)

	if err := s.startServers(servers); err != nil {
		return err
	}
	nc, err := nats.Connect(s.urls(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return err
	}
	if s.gw, err = gatewaytest.Start(gatewaytest.Config{
		Dialect: dialect, Seed: s.opts.seed, ApproveAfter: 3 * time.Second,
		Latency: 5 * time.Millisecond, LatencyJitter: 300 * time.Millisecond, Faults: usualFaults(),
	}); err != nil {
		return err
	}
	if s.wire, err = harness.NewLink(s.gw.Addr()); err != nil {
		return err
	}
	var links []string
	for _, server := range s.servers {
		u, err := url.Parse(server.URL)
		if err != nil {
			return err
		}
		l, err := harness.NewLink(u.Host)
		if err != nil {
			return err
		}
		s.bus = append(s.bus, l)
		links = append(links, "nats://"+l.Addr())
	}
	open, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s.site, err = harness.Open(open, harness.Config{
		NATS: nc, WorkerNATS: strings.Join(links, ","), Gateway: s.gw, WorkerGateway: s.wire.Addr(),
		Binary: bin, Dir: s.opts.logs, Replicas: servers,
		Settings: harness.Settings{Dialect: "auto", OnLostReply: lost, Concurrency: 16, MaxWait: 20 * time.Minute},
	})
	return err
}

func (s *stage) startServers(n int) error {
	if n == 1 {
		server, err := natstest.Run(natstest.Config{Process: true})
		s.servers = []*natstest.Server{server}
		return err
	}
	cluster, err := natstest.RunCluster(natstest.ClusterConfig{Size: n, Process: true})
	if err != nil {
		return err
	}
	s.servers = cluster.Servers
	return nil
}

func (s *stage) urls() string {
	var all []string
	for _, server := range s.servers {
		all = append(all, server.URL)
	}
	return strings.Join(all, ",")
}

// close ends whatever was started.
func (s *stage) close() {
	if s.site != nil {
		s.site.Close()
		s.site.NATS.Close()
	}
	if s.wire != nil {
		s.wire.Close()
	}
	for _, l := range s.bus {
		l.Close()
	}
	if s.gw != nil {
		s.gw.Close()
	}
	for _, server := range s.servers {
		if server != nil {
			server.Stop()
		}
	}
}

// tell prints a line of the run's story.
func (s *stage) tell(format string, args ...any) {
	if !s.opts.verbose {
		return
	}
	at := time.Duration(0)
	if !s.begun.IsZero() {
		at = time.Since(s.begun)
	}
	fmt.Fprintf(io.Writer(os.Stderr), "seed=%d %6.2fs %s\n", s.opts.seed, at.Seconds(), fmt.Sprintf(format, args...))
}

// sleep waits, and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

var errNotIssued = errors.New("the order was not issued")
