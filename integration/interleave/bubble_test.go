package interleave

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
	"github.com/entrust-worker/entrust-worker/internal/watchdog"
)

func TestMain(m *testing.M) {
	// The server's clock for its caches waits on a channel of the whole process. If it
	// started inside a bubble, it would stop fake time.
	ats.Register()
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(interleavings)) // a number is always valid
	}
	os.Exit(m.Run())
}

// bubble is one installation inside a synctest bubble.
type bubble struct {
	t      testing.TB
	srv    *server.Server
	gw     *gatewaytest.Server
	site   *rig.Site
	change func(*consumer.Config)
	log    io.Writer
}

// blowBubble starts a server and a gateway that communicate over pipes. It must run
// inside synctest.Test.
func blowBubble(t testing.TB, cfg gatewaytest.Config, change func(*consumer.Config)) *bubble {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		ServerName: "bubble", DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	cfg.InMemory = true
	gw, err := gatewaytest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	site, err := rig.Open(t.Context(), rig.Config{NATS: nc, Gateway: gw, Audited: true})
	if err != nil {
		t.Fatal(err)
	}
	// The stream recognises a repeated dead letter only within its duplicate window, and
	// workers stall for longer than that here.
	dead, err := site.JS.Stream(t.Context(), site.Layout.Dead)
	if err != nil {
		t.Fatal(err)
	}
	wide := dead.CachedInfo().Config
	wide.Duplicates = time.Hour
	if _, err := site.JS.UpdateStream(t.Context(), wide); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		site.Close()
		nc.Close()
		gw.Close()
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return &bubble{t: t, srv: srv, gw: gw, site: site, change: change, log: io.Discard}
}

// worker is a running worker with its planned faults.
type worker struct {
	*mortal
	stop func()
}

// work starts a worker.
func (b *bubble) work(blows ...blow) *worker {
	b.t.Helper()
	m := newMortal(b.srv, b.site.Layout, blows...)
	nc, err := nats.Connect("", nats.InProcessServer(m), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // a dead worker's connection reports errors
	if err != nil {
		b.t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	hc, err := b.gw.Client()
	if err != nil {
		b.t.Fatal(err)
	}
	base := hc.Transport
	client, err := gateway.New(gateway.Config{
		URL: b.gw.URL(), CAID: b.gw.CAID(), ProfileID: b.gw.Profile(),
		EnrollTimeout: 2 * time.Second, Timeout: 2 * time.Second, NotFoundGrace: time.Second, ThrottleFloor: time.Second,
	}, &http.Client{Transport: &transport{m, base}}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	cfg := consumer.Config{
		Layout: b.site.Layout, CAID: b.gw.CAID(), ProfileID: b.gw.Profile(),
		Issue: 4, Revoke: 4, Poll: 4, Manage: 4,
		Schedule:      pollsched.Schedule{First: 300 * time.Millisecond, Max: 2 * time.Second, Factor: 2, Jitter: 0.2},
		EnrollTimeout: 2 * time.Second, EventDelay: 200 * time.Millisecond, Drain: time.Second,
	}
	if b.change != nil {
		b.change(&cfg)
	}
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	bucket := control.Open(control.Config{JS: js, Bucket: cfg.Layout.Control, Worker: consumer.Name(), Gateway: b.gw.URL(), Log: log})
	w, err := consumer.New(cfg, js, bucket, client, log)
	if err != nil {
		b.t.Fatal(err)
	}
	dog := watchdog.Watchdog{
		JS: js, Layout: cfg.Layout, Ledger: ledger.New(js, cfg.Layout.Orders), Wakeups: wakeup.New(js, cfg.Layout.Parked, cfg.Layout.Subjects()),
		Control: bucket, Log: log, Every: 30 * time.Second, Lease: w.Lease(),
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		var beside sync.WaitGroup
		beside.Go(func() { dog.Run(ctx) })
		if err := w.Run(ctx); err != nil {
			b.t.Errorf("running a worker: %v", err)
		}
		beside.Wait()
	}()
	return &worker{m, func() {
		cancel()
		<-done
		nc.Close()
		m.die() // a connection in progress is closed too
		hc.CloseIdleConnections()
	}}
}
