package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Config says what a Site is made of. NATS, Gateway, Binary and Dir are required.
type Config struct {
	// Name tells sites apart that share a server: letters and digits. It is the
	// prefix of the site's subjects and streams.
	Name string
	// NATS is a connection that no disturbance reaches: producers and the oracle
	// use it. Open makes a JetStream of it; the caller closes it.
	NATS *nats.Conn
	// WorkerNATS is the URL that workers connect to. Default: that of NATS.
	WorkerNATS string
	// Gateway is the simulator, which sites may share.
	Gateway *gatewaytest.Server
	// WorkerGateway is the host and port that workers reach the gateway at.
	// Default: the gateway's own.
	WorkerGateway string
	// Binary is the worker, see Build.
	Binary string
	// Dir is where workers log to.
	Dir string
	// AckWait of the consumers. Default 3 s; above Settings.Timeout.
	AckWait time.Duration
	// Replicas of the streams. Default 1.
	Replicas int
	// Settings are those of every worker that is started without its own.
	Settings Settings
}

// Site is one installation of the worker: its streams, its gateway and its
// processes. Its methods are safe for concurrent use.
type Site struct {
	Config
	Layout  streams.Layout
	JS      jetstream.JetStream
	Witness *Witness

	mu      sync.Mutex
	workers []*Worker
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
	for _, name := range []*string{&l.Requests, &l.Parked, &l.Results, &l.Dead, &l.Orders, &l.Control} {
		*name = strings.Replace(*name, "ENTRUST", strings.ToUpper(cfg.Name), 1)
	}
	js, err := jetstream.New(cfg.NATS)
	if err != nil {
		return nil, err
	}
	s := &Site{Config: cfg, Layout: l, JS: js}
	if err := s.provision(ctx); err != nil {
		return nil, fmt.Errorf("making the streams of %s: %w", cfg.Name, err)
	}
	return s, nil
}

// provision makes the streams, and has every wake-up published once more for the
// witness.
func (s *Site) provision(ctx context.Context) error {
	for {
		_, err := streams.Provision(ctx, s.JS, s.Layout)
		if err == nil {
			break
		}
		// A cluster that elected its leader a moment ago may not answer yet.
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
	witness, err := newWitness(s.NATS, s.Layout)
	if err != nil {
		return err
	}
	st, err := s.JS.Stream(ctx, s.Layout.Parked)
	if err != nil {
		return err
	}
	cfg := st.CachedInfo().Config
	cfg.RePublish = &jetstream.RePublish{Source: s.Layout.Subjects().DueFilter(), Destination: witness.destination()}
	if _, err := s.JS.UpdateStream(ctx, cfg); err != nil {
		return err
	}
	s.Witness = witness
	return nil
}

// StartWorker starts a worker process with the site's settings, as changed by change
// (which may be nil).
func (s *Site) StartWorker(change func(*Settings)) (*Worker, error) {
	settings := s.Settings
	if change != nil {
		change(&settings)
	}
	gw := s.Gateway
	url := strings.Replace(gw.URL(), gw.Addr(), s.WorkerGateway, 1)
	env := settings.environ(s.Layout, s.WorkerNATS, url, Pair{
		CAID: gw.CAID(), ProfileID: gw.Profile(),
		CertFile: gw.ClientCert(), KeyFile: gw.ClientKey(), CAFile: gw.ServerCA(),
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := startWorker(s.Binary, env, filepath.Join(s.Dir, fmt.Sprintf("%s-worker-%d.log", s.Name, len(s.workers)+1)))
	if err != nil {
		return nil, err
	}
	s.workers = append(s.workers, w)
	return w, nil
}

// Workers are the processes started so far, those that are gone included.
func (s *Site) Workers() []*Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Worker(nil), s.workers...)
}

// Close kills what workers still run.
func (s *Site) Close() {
	for _, w := range s.Workers() {
		w.Kill()
	}
	if s.Witness != nil {
		s.Witness.close()
	}
}

// Until waits until done says yes, and returns ctx's cause where it ends first.
// done is asked every 50 ms; the last error it returned is told.
func Until(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		yes, err := done()
		if yes {
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("waiting until %s: %w (last: %w)", what, context.Cause(ctx), err)
			}
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
