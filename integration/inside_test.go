package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
	"github.com/entrust-worker/entrust-worker/internal/worker"
)

// inside is an installation whose workers run in this process: the test can count their
// goroutines and use any gateway. It has a real server, and the streams that the worker
// makes.
type inside struct {
	t      testing.TB
	ctx    context.Context
	server *testbed.Server
	js     jetstream.JetStream
	layout streams.Layout
	cfg    consumer.Config
	log    *testbed.Buffer
}

// openInside starts the server. Waits are short, in the proportions of the defaults.
func openInside(t testing.TB, within time.Duration) *inside {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	s := &inside{t: t, ctx: ctx, server: testbed.Start(t, permitted(t, defaultName)), layout: streams.DefaultLayout(), log: new(testbed.Buffer)}
	s.layout.AckWait = 2 * time.Second
	s.js = s.server.JetStream(t)
	if _, err := streams.Provision(ctx, s.js, s.layout); err != nil {
		t.Fatal(err)
	}
	s.cfg = consumer.Config{
		Layout: s.layout, CAID: "sim~issuing", ProfileID: "tls-server",
		Schedule: pollsched.Schedule{First: 200 * time.Millisecond, Factor: 2, Max: time.Second, Jitter: 0.1, RetryAfterMax: time.Minute},
		MaxWait:  20 * time.Second, EnrollTimeout: 2 * time.Second, EventDelay: 200 * time.Millisecond,
		Drain: 5 * time.Second,
	}
	return s
}

// gatewayAt returns a client of a gateway over mutual TLS, and a function that closes its
// connections.
func (s *inside) gatewayAt(url, certFile, keyFile, caFile string) (*gateway.Client, func()) {
	s.t.Helper()
	gw, cache, err := rig.NewGateway(gateway.Config{
		URL: url, CAID: s.cfg.CAID, ProfileID: s.cfg.ProfileID,
		EnrollTimeout: s.cfg.EnrollTimeout, Timeout: 2 * time.Second,
	}, mtlscache.Config{CertFile: certFile, KeyFile: keyFile, ServerCAFile: caFile}, s.logger())
	if err != nil {
		s.t.Fatal(err)
	}
	return gw, cache.CloseIdleConnections
}

func (s *inside) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// work runs a worker on a connection of its own. stop drains the worker and closes the
// connection.
func (s *inside) work(gw worker.Gateway) (stop func()) {
	s.t.Helper()
	url := strings.Replace(s.server.URL, "://", "://"+defaultName+":"+workerPassword+"@", 1)
	w, err := rig.RunWorker(s.ctx, url, s.cfg, gw, nil, s.logger())
	if err != nil {
		s.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := w.Stop(); err != nil {
			s.t.Errorf("running the worker: %v", err)
		}
		for _, line := range refusedBy(s.log.String()) {
			s.t.Errorf("permissions.conf is too narrow: %s", line)
		}
	})
	s.t.Cleanup(stop)
	return stop
}

// until waits for a condition, at most for the installation's time.
func (s *inside) until(what string, done func() bool) {
	s.t.Helper()
	err := testbed.UntilEvery(s.ctx, 20*time.Millisecond, what, func() (bool, error) { return done(), nil })
	if err != nil {
		s.t.Fatalf("%v; the log ends with\n%s", err, s.log.Tail(4<<10))
	}
}

// left counts the messages of a stream.
func (s *inside) left(stream string) uint64 {
	s.t.Helper()
	n, err := oracle.Messages(s.ctx, s.js, stream)
	if err != nil {
		s.t.Fatal(err)
	}
	return uint64(n)
}

// letters returns all dead letters.
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

// results returns all results in their order, by <producer>.<id>.
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
		r, err := oracle.Decode(m.Header, m.Data)
		if err != nil {
			s.t.Fatalf("%s: %v", m.Subject, err)
		}
		if r.Producer != producer || r.ID != id {
			s.t.Errorf("the result on %s is of %s.%s", m.Subject, r.Producer, r.ID)
		}
		all[producer+"."+id] = append(all[producer+"."+id], r)
	}
	return all
}

// refused reports whether the server or the client rejected a publish. It is false for a
// publish that failed otherwise.
func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) || strings.Contains(fmt.Sprint(err), "nats: ")
}
