//go:build integration

package integration

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// The worker's binaries, built once: the shipped one, and one with failpoints.
var workerBinary, mortalBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests wait for leases and deadlines far more than they compute.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("24")
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if workerBinary, err = testbed.Build(ctx, dir, false); err == nil {
		mortalBinary, err = testbed.Build(ctx, dir, true)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// startGateway runs a simulator until the test ends.
func startGateway(t testing.TB, cfg gatewaytest.Config) *gatewaytest.Server {
	t.Helper()
	gw, err := gatewaytest.Start(cfg)
	if err != nil {
		t.Fatalf("starting the gateway: %v", err)
	}
	t.Cleanup(func() { gw.Close() })
	return gw
}

// openSite makes a site that closes when the test ends. Its workers have the permissions
// of deploy/nats; the server must have the configuration of permitted. A failed test
// shows the last log lines of its workers.
func openSite(t testing.TB, server *testbed.Server, cfg rig.Config) *rig.Site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if cfg.NATS == nil {
		cfg.NATS = server.Conn(t)
	}
	cfg.Dir = t.TempDir()
	cfg.WorkerUser, cfg.WorkerPassword = cmp.Or(cfg.Name, defaultName), workerPassword
	site, err := rig.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		site.Close()
		for _, w := range site.Workers() {
			log, _ := os.ReadFile(w.Log)
			for _, line := range refusedBy(string(log)) {
				t.Errorf("permissions.conf is too narrow: %s", line)
			}
			if !t.Failed() {
				continue
			}
			t.Logf("%s:\n%s", filepath.Base(w.Log), log[max(0, len(log)-8<<10):])
		}
	})
	return site
}

// startWorker starts a worker of the site.
func startWorker(t testing.TB, site *rig.Site, change func(*rig.Settings)) *testbed.Worker {
	t.Helper()
	w, err := site.StartWorker(change)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// submit publishes orders.
func submit(ctx context.Context, t testing.TB, site *rig.Site, orders ...*oracle.Order) {
	t.Helper()
	if err := site.Submit(ctx, orders...); err != nil {
		t.Fatal(err)
	}
}

// check waits until the site is at rest and reports every broken promise.
func check(ctx context.Context, t testing.TB, site *rig.Site, orders []*oracle.Order) *oracle.Report {
	t.Helper()
	v, err := site.Check(ctx, orders)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range v.Findings {
		t.Error(f)
	}
	return v
}
