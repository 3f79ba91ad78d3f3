package watchdog

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// kept is the revision of the record of the last scan, 0 before the first.
func (r *rig) kept(w *Watchdog) uint64 {
	r.t.Helper()
	s, err := w.Control.ReadScan(r.t.Context(), control.ScanRecent)
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Revision
}

// Two workers, one scan: the second finds the lease acquired, and returns when it ends. A
// worker that stops releases the lease at once.
func TestOneWorkerScans(t *testing.T) {
	t.Parallel()
	r := setup(t)
	a, b := r.worker("a", 0), r.worker("b", 0)
	if pause := a.turn(t.Context(), a.Control.WatchdogLease()); pause != a.Every {
		t.Errorf("a pause of %s after a scan, want %s", pause, a.Every)
	}
	first := r.kept(a)
	if first == 0 {
		t.Fatal("the first worker did not scan")
	}
	// The lease lasts over the rest: its holder returns before it ends.
	if pause := b.turn(t.Context(), b.Control.WatchdogLease()); pause < b.Every || pause > lasting(b.Every)+b.Every/10+1 {
		t.Errorf("the second worker waits for %s", pause)
	}
	if r.kept(b) != first {
		t.Error("both workers scanned")
	}
	if pause := a.turn(t.Context(), a.Control.WatchdogLease()); pause != a.Every || r.kept(a) == first {
		t.Errorf("the holder did not scan again; it waits for %s", pause)
	}
	second := r.kept(a)
	if err := a.Control.WatchdogLease().Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.turn(t.Context(), b.Control.WatchdogLease())
	if r.kept(b) == second {
		t.Error("no worker scanned after the first had left")
	}
}

// Run scans repeatedly, repairs, counts its repairs, and releases the lease when it stops.
func TestRun(t *testing.T) {
	t.Parallel()
	r := setup(t)
	registry := prometheus.NewRegistry()
	a, b := r.worker("a", later), r.worker("b", later)
	a.Every, b.Every = 200*time.Millisecond, time.Hour
	a.Metrics = metrics.New(registry)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	// An order without a wake-up, written outside of the workers, is woken in every scan.
	for i := range 3 {
		id := fmt.Sprint("x", i)
		r.keep(id, record(order.Awaiting, entrustbus.KindIssue))
		r.eventually("wake-up", func() bool {
			ok, err := r.wakeups.Wakes(t.Context(), key(id), 0)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		})
	}
	r.eventually("count", func() bool { return repaired(t, registry, "lost") >= 3 })
	for _, kind := range []string{"stuck", "dead"} {
		if n := repaired(t, registry, kind); n != 0 {
			t.Errorf("%v %s wake-ups, want none", n, kind)
		}
	}
	stop()
	<-ended
	if acquired, wait, err := b.Control.WatchdogLease().Acquire(t.Context(), time.Minute); !acquired || err != nil {
		t.Errorf("after a stop the lease is acquired %v, to wait for %s (%v)", acquired, wait, err)
	}
}

func repaired(t *testing.T, g prometheus.Gatherer, kind string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "entrust_worker_wakeup_repairs_total" && m.GetLabel()[0].GetValue() == kind {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no series of %s repairs", kind)
	return 0
}

// A scan ends when another worker acquired the lease meanwhile, and does not count as finished.
func TestScanEndsWithItsLease(t *testing.T) {
	t.Parallel()
	r := setup(t)
	r.park(6 * restEvery) // a scan rests between batches
	kv, err := r.js.KeyValue(t.Context(), r.layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	a := r.worker("a", 0)
	a.Every = 200 * time.Millisecond // the lease is renewed often
	done := make(chan time.Duration, 1)
	go func() { done <- a.turn(t.Context(), a.Control.WatchdogLease()) }()
	var lease jetstream.KeyValueEntry
	r.eventually("lease", func() bool {
		lease, err = kv.Get(t.Context(), "lease.watchdog")
		return err == nil
	})
	if _, err := kv.PutString(t.Context(), lease.Key(), strings.Replace(string(lease.Value()), `"a"`, `"other"`, 1)); err != nil {
		t.Fatal(err)
	}
	if pause := <-done; pause != a.Every {
		t.Errorf("a pause of %s, want %s", pause, a.Every)
	}
	if n := r.kept(a); n != 0 || !strings.Contains(r.log.String(), "another worker continues") {
		t.Errorf("the scan was kept as %d; the log says:\n%s", n, r.log)
	}
}

// A failed scan is repeated soon, and so is a scan that could not begin.
func TestScanAgainAfterTrouble(t *testing.T) {
	t.Parallel()
	r := setup(t)
	w := r.worker("w1", 0)
	lease := w.Control.WatchdogLease()
	if err := r.js.DeleteConsumer(t.Context(), r.layout.Parked, streams.ConsumerRevokeAgain); err != nil {
		t.Fatal(err)
	}
	if pause := w.turn(t.Context(), lease); pause != troubleRest {
		t.Errorf("a pause of %s after a scan that failed, want %s", pause, troubleRest)
	}
	if r.kept(w) != 0 {
		t.Error("a scan that failed is kept as finished")
	}
	// Another worker waits no longer than that.
	b := r.worker("w2", 0)
	if pause := b.turn(t.Context(), b.Control.WatchdogLease()); pause > lasting(troubleRest)+b.Every/10+1 {
		t.Errorf("another worker waits for %s after a scan that failed", pause)
	}
	w.JS.Conn().Close()
	if pause := w.turn(t.Context(), lease); pause != troubleRest {
		t.Errorf("a pause of %s after a lease that could not be asked for, want %s", pause, troubleRest)
	}
}

// A stop ends a scan, and is no error.
func TestScanEndsWithTheWorker(t *testing.T) {
	t.Parallel()
	r := setup(t)
	r.park(6 * restEvery)
	w := r.worker("w1", 0)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.turn(ctx, w.Control.WatchdogLease()) }()
	stop()
	<-done
	if r.kept(w) != 0 || strings.Contains(r.log.String(), "scanning again") {
		t.Errorf("the log says:\n%s", r.log)
	}
}
