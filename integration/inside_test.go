package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/natstest"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// inside is an installation whose workers run in this process, where their
// goroutines can be counted and a gateway of any behaviour can be put in: a real
// server, and the streams that the worker makes.
type inside struct {
	t      testing.TB
	ctx    context.Context
	server *natstest.Server
	js     jetstream.JetStream
	layout streams.Layout
	cfg    consumer.Config
	log    *lines
}

// openInside starts the server. Waits are short, in the proportions of the
// defaults.
func openInside(t testing.TB, within time.Duration) *inside {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	s := &inside{t: t, ctx: ctx, server: natstest.Start(t), layout: streams.DefaultLayout(), log: new(lines)}
	s.layout.AckWait = 2 * time.Second
	s.js = s.server.JetStream(t)
	if _, err := streams.Provision(ctx, s.js, s.layout); err != nil {
		t.Fatal(err)
	}
	s.cfg = consumer.Config{
		Layout: s.layout, CAID: "sim~issuing", ProfileID: "tls-server",
		Schedule: pollsched.Schedule{First: 200 * time.Millisecond, Factor: 2, Max: time.Second, Jitter: 0.1, RetryAfterMax: time.Minute},
		MaxWait:  20 * time.Second, EnrollTimeout: 2 * time.Second, EventDelay: 200 * time.Millisecond,
		Drain: 5 * time.Second, WatchdogEvery: -1,
	}
	return s
}

// gatewayAt is a client of a gateway that is reached over mutual TLS, and what
// closes its connections.
func (s *inside) gatewayAt(url, certFile, keyFile, caFile string) (*gateway.Client, func()) {
	s.t.Helper()
	cache, err := mtlscache.New(mtlscache.Config{CertFile: certFile, KeyFile: keyFile, ServerCAFile: caFile})
	if err != nil {
		s.t.Fatal(err)
	}
	gw, err := gateway.New(gateway.Config{
		URL: url, CAID: s.cfg.CAID, ProfileID: s.cfg.ProfileID,
		EnrollTimeout: s.cfg.EnrollTimeout, Timeout: 2 * time.Second,
	}, &http.Client{Transport: cache}, s.logger())
	if err != nil {
		s.t.Fatal(err)
	}
	return gw, cache.CloseIdleConnections
}

func (s *inside) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// work runs a worker on a connection of its own, and returns what drains it and
// closes that.
func (s *inside) work(gw consumer.Gateway) (stop func()) {
	s.t.Helper()
	nc, err := s.server.Connect()
	if err != nil {
		s.t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := consumer.New(s.cfg, js, gw, s.logger())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("running the worker: %v", err)
		}
		nc.Close()
	})
	s.t.Cleanup(stop)
	return stop
}

// until waits for what must become true before the installation's time is over.
func (s *inside) until(what string, done func() bool) {
	s.t.Helper()
	for !done() {
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("waited in vain for %s; the log ends with\n%s", what, s.log.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// left counts the messages of a stream.
func (s *inside) left(stream string) uint64 {
	s.t.Helper()
	st, err := s.js.Stream(s.ctx, stream)
	if err != nil {
		s.t.Fatal(err)
	}
	return st.CachedInfo().State.Msgs
}

// letters are the dead letters there are.
func (s *inside) letters() []*deadletter.Letter {
	s.t.Helper()
	var all []*deadletter.Letter
	for m, err := range streams.Scan(s.ctx, s.js, s.layout.Dead, ">") {
		if err != nil {
			s.t.Fatal(err)
		}
		l, err := deadletter.Parse(s.layout.Subjects(), m.Sequence, m.Subject, m.Header, m.Data)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// results are the results there are, in their order, by <producer>.<id>.
func (s *inside) results() map[string][]*entrustbus.Result {
	s.t.Helper()
	all := map[string][]*entrustbus.Result{}
	for m, err := range streams.Scan(s.ctx, s.js, s.layout.Results, ">") {
		if err != nil {
			s.t.Fatal(err)
		}
		producer, id, err := s.layout.Subjects().ParseOrder(m.Subject)
		if err != nil {
			s.t.Fatal(err)
		}
		enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := entrustbus.DecodeResult(enc, m.Data)
		if err != nil {
			s.t.Fatalf("reading the result on %s: %v", m.Subject, err)
		}
		if r.Producer != producer || r.ID != id {
			s.t.Errorf("the result on %s is of %s.%s", m.Subject, r.Producer, r.ID)
		}
		all[producer+"."+id] = append(all[producer+"."+id], r)
	}
	return all
}

// refused tells a publish that the server, or the client in front of it, did not
// take from one that went wrong.
func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) || strings.Contains(fmt.Sprint(err), "nats: ")
}

// lines keeps what workers log. It is safe for concurrent use.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) tail() string {
	s := l.String()
	return s[max(0, len(s)-4<<10):]
}
