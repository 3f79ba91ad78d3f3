// Package rig runs whole installations of the worker: the streams, the gateway
// simulator, workers as processes or inside this one, a producer, and the oracle.
//
// Nothing that entrust-worker is built from may import it.
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

// Config says what a Site is made of. NATS and Gateway are required; Binary and Dir are
// where StartWorker is used.
type Config struct {
	// Name tells sites apart that share a server: letters and digits. It is the
	// prefix of the site's subjects and streams.
	Name string
	// NATS is a connection that no disturbance reaches: producers and the oracle
	// use it. Open makes a JetStream of it; the caller closes it.
	NATS *nats.Conn
	// WorkerNATS is the URL that workers connect to. Default: that of NATS.
	WorkerNATS string
	// WorkerUser and WorkerPassword are those that workers connect with. Default: none.
	WorkerUser, WorkerPassword string
	// Gateway is the simulator, which sites may share.
	Gateway *gatewaytest.Server
	// WorkerGateway is the host and port that workers reach the gateway at.
	// Default: the gateway's own.
	WorkerGateway string
	// Binary is the worker, see testbed.Build.
	Binary string
	// Dir is where workers log to.
	Dir string
	// AckWait of the consumers. Default 3 s; above Settings.Timeout.
	AckWait time.Duration
	// Replicas of the streams. Default 1.
	Replicas int
	// Audited has the workers write an audit trail.
	Audited bool
	// Settings are those of every worker that is started without its own.
	Settings Settings
	// Faults is the account of what goes wrong on purpose. The site adds the deaths of
	// its workers. Nil: none is kept, and held orders are counted only.
	Faults *oracle.Faults
}

// Site is one installation of the worker: its streams, its gateway and its
// processes. Its methods are safe for concurrent use.
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
	// The server sets the whole of it aside, for each site.
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
	// A cluster that elected its leader a moment ago may not answer yet.
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

// StartWorker starts a worker process with the site's settings, as changed by change
// (which may be nil).
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

// Workers are the processes started so far, those that are gone included.
func (s *Site) Workers() []*testbed.Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.workers)
}

// Close kills what workers still run.
func (s *Site) Close() {
	for _, w := range s.Workers() {
		w.Kill()
	}
	if s.Wakes != nil {
		s.Wakes.Close()
	}
}

// Oracle is the oracle of the site.
func (s *Site) Oracle() *oracle.Oracle {
	return &oracle.Oracle{
		JS: s.JS, Layout: s.Layout, Gateway: s.Gateway, Faults: s.Faults, Wakes: s.Wakes, FirstPoll: s.Settings.firstPoll(),
	}
}

// Check waits until the site is at rest, then has the oracle check the orders. A site
// that lost a server must have caught up before.
func (s *Site) Check(ctx context.Context, orders []*oracle.Order) (*oracle.Report, error) {
	return s.Oracle().CheckAtRest(ctx, orders)
}
