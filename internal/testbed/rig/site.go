// Package rig runs complete installations of the worker: the streams, the gateway
// simulator, workers as processes or in this process, a producer, and the oracle.
//
// No package of entrust-worker's binary may import it.
package rig

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// Config configures a Site. NATS and Gateway are required. Binary and Dir are required
// for StartWorker.
type Config struct {
	// Name distinguishes sites that share a server: letters and digits. It is the prefix
	// of the site's subjects and streams.
	Name string
	// NATS is a connection without disturbances, for producers and the oracle. Open makes
	// a JetStream of it; the caller closes it.
	NATS *nats.Conn
	// WorkerNATS is the URL that workers connect to. Default: that of NATS.
	WorkerNATS string
	// WorkerUser and WorkerPassword are the workers' credentials. Default: none.
	WorkerUser, WorkerPassword string
	// Gateway is the simulator, which sites may share.
	Gateway *gatewaytest.Server
	// WorkerGateway is the host and port at which workers reach the gateway. Default: the
	// gateway's own.
	WorkerGateway string
	// Binary is the worker's binary, see testbed.Build.
	Binary string
	// Dir is the directory of the workers' logs.
	Dir string
	// AckWait is that of the consumers. Default 3 s; it must be above Settings.Timeout.
	AckWait time.Duration
	// Replicas is the number of replicas of the streams. Default 1.
	Replicas int
	// Audited makes the workers write an audit trail.
	Audited bool
	// Settings are the settings of every worker that is started without its own.
	Settings Settings
	// Faults records the injected faults. The site adds the deaths of its workers. Nil:
	// the oracle only counts held orders.
	Faults *oracle.Faults
}

// Site is one installation of the worker: its streams, its gateway and its processes. Its
// methods are safe for concurrent use.
type Site struct {
	Config
	Layout streams.Layout
	JS     jetstream.JetStream
	Wakes  *oracle.WakeLog

	mu      sync.Mutex
	workers []*testbed.Worker
}

// Open makes the streams of a site. Close ends its workers.
func Open(ctx context.Context, cfg Config) (*Site, error) {
	if cfg.Name == "" {
		cfg.Name = "entrust"
	}
	if cfg.WorkerNATS == "" {
		cfg.WorkerNATS = cfg.NATS.ConnectedUrl()
	}
	if cfg.WorkerGateway == "" {
		cfg.WorkerGateway = cfg.Gateway.Addr()
	}
	if cfg.AckWait == 0 {
		cfg.AckWait = 3 * time.Second
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	l := streams.DefaultLayout()
	l.Prefix, l.AckWait, l.Replicas = cfg.Name, cfg.AckWait, cfg.Replicas
	// The server reserves all of it for each site.
	l.RequestsMaxBytes = 32 << 20
	l.AuditMaxBytes = 32 << 20
	l.Audited = cfg.Audited
	for _, name := range []*string{&l.Requests, &l.Parked, &l.Results, &l.Dead, &l.Orders, &l.Control, &l.Certs, &l.Keys, &l.Audit, &l.Incidents} {
		*name = strings.Replace(*name, "ENTRUST", strings.ToUpper(cfg.Name), 1)
	}
	js, err := jetstream.New(cfg.NATS)
	if err != nil {
		return nil, err
	}
	s := &Site{Config: cfg, Layout: l, JS: js}
	// A cluster that has just elected its leader may not answer yet.
	err = testbed.UntilEvery(ctx, 200*time.Millisecond, "the streams of "+cfg.Name+" are made", func() (bool, error) {
		_, err := streams.Provision(ctx, js, l)
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	if s.Wakes, err = oracle.LogWakes(ctx, js, l); err != nil {
		return nil, fmt.Errorf("logging the wake-ups of %s: %w", cfg.Name, err)
	}
	return s, nil
}

// StartWorker starts a worker process with the site's settings. change may modify them;
// it may be nil.
func (s *Site) StartWorker(change func(*Settings)) (*testbed.Worker, error) {
	settings := s.Settings
	if change != nil {
		change(&settings)
	}
	env := settings.environ(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := testbed.StartWorker(cmp.Or(settings.Binary, s.Binary), env, filepath.Join(s.Dir, fmt.Sprintf("%s-worker-%d.log", s.Name, len(s.workers)+1)))
	if err != nil {
		return nil, err
	}
	s.workers = append(s.workers, w)
	if s.Faults != nil {
		go func() {
			<-w.Done()
			if w.Killed() {
				s.Faults.Note(settings.Submissions())
			}
		}()
	}
	return w, nil
}

// Workers returns the processes started so far, including ended ones.
func (s *Site) Workers() []*testbed.Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.workers)
}

// Close kills the workers that still run.
func (s *Site) Close() {
	for _, w := range s.Workers() {
		w.Kill()
	}
	if s.Wakes != nil {
		s.Wakes.Close()
	}
}

// Oracle returns the oracle of the site.
func (s *Site) Oracle() *oracle.Oracle {
	return &oracle.Oracle{
		JS: s.JS, Layout: s.Layout, Gateway: s.Gateway, Faults: s.Faults, Wakes: s.Wakes, FirstPoll: s.Settings.firstPoll(),
	}
}

// Check waits until the site is at rest, then checks the orders with the oracle. If the
// site lost a server, call CaughtUp before.
func (s *Site) Check(ctx context.Context, orders []*oracle.Order) (*oracle.Report, error) {
	return s.Oracle().CheckAtRest(ctx, orders)
}
