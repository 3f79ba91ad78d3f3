package watchdog

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// reads counts the messages that a scan receives.
func (r *rig) reads(w *Watchdog, want Repairs) uint64 {
	r.t.Helper()
	before := w.JS.Conn().Stats().InMsgs
	r.scans(w, want)
	return w.JS.Conn().Stats().InMsgs - before
}

// Closed records cost a scan nothing once they were read. With 20,000 closed records, a later
// scan reads as much as with none, and the new records.
func TestClosedRecordsCostALaterScanNothing(t *testing.T) {
	t.Parallel()
	const closed, written = 20000, 50
	empty := setup(t)
	w := empty.worker("w1", later)
	w.Every = 0 // the scan of all records has one part
	empty.scans(w, Repairs{})
	nothing := empty.reads(w, Repairs{})

	r := setup(t)
	r.fill(closed)
	w = r.worker("w1", later)
	w.Every = 0
	r.scans(w, Repairs{})
	if last, err := w.Control.ReadScan(t.Context(), control.ScanFull); err != nil || !last.Complete || last.Cursor != closed {
		t.Fatalf("the scan of every record is kept as %+v (%v)", last, err)
	}
	if n := r.reads(w, Repairs{}); n > nothing+2 {
		t.Errorf("a scan behind %d closed records reads %d messages, behind none %d", closed, n, nothing)
	}
	for i := range written {
		rec := record(order.Awaiting, entrustbus.KindIssue)
		r.keep(fmt.Sprint("o", i), rec)
		r.schedule(wake(fmt.Sprint("o", i), rec))
	}
	// Each order is read as wake-up and record and checked once. A record that is too recent
	// for the cursor costs a small batch.
	if n := r.reads(w, Repairs{}); n < 2*written || n > nothing+4*written+140 {
		t.Errorf("a scan of %d orders reads %d messages, of none %d", written, n, nothing)
	}
	if n := r.reads(w, Repairs{}); n > nothing+2*written+140 {
		t.Errorf("a scan of %d waiting orders that were read reads %d messages", written, n)
	}
}

// The lagging cursor finds an order whose wake-up is lost after its record was read. The scan
// of all records finds an order whose wake-up is lost later, a day after the last such scan.
func TestLaterLossesAreFound(t *testing.T) {
	t.Parallel()
	r := setup(t)
	rec := record(order.Awaiting, entrustbus.KindIssue)
	r.scans(r.worker("w1", 0), Repairs{})
	r.keep("x", rec)
	r.schedule(wake("x", rec))
	lose := func() {
		t.Helper()
		if err := r.wakeups.Cancel(t.Context(), key("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	at := func(ahead time.Duration, want Repairs) { t.Helper(); r.scans(r.worker("w1", ahead), want) }
	at(later, Repairs{})
	lose()
	at(longestWait-time.Minute, Repairs{}) // the record was read
	at(longestWait+time.Minute, Repairs{Lost: 1})
	lose()
	at(longestWait+time.Minute, Repairs{})
	// The scan of all records counts its day from the time at which its own record was stored.
	kv, err := r.js.KeyValue(t.Context(), r.layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(t.Context(), "scan."+control.ScanFull)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.Replace(string(e.Value()), `"complete":true`, fmt.Sprintf(`"complete":false,"before_ns":%d`, 24*time.Hour), 1)
	if _, err := kv.PutString(t.Context(), e.Key(), old); err != nil {
		t.Fatal(err)
	}
	whole := func() control.Scan {
		t.Helper()
		s, err := r.worker("w1", 0).Control.ReadScan(t.Context(), control.ScanFull)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if ago, ok := whole().Ended(); !ok || ago < 24*time.Hour {
		t.Errorf("the last whole scan ended %s ago (%v), want a day", ago, ok)
	}
	if _, err := kv.PutString(t.Context(), e.Key(), strings.Replace(old, fmt.Sprintf(`"cursor":%d`, whole().Cursor), `"cursor":0`, 1)); err != nil {
		t.Fatal(err)
	}
	at(longestWait+time.Minute, Repairs{Lost: 1})
	if s := whole(); !s.Complete {
		t.Errorf("the whole scan is kept as %+v", s)
	}
}

// A scan of all records continues after its last part, whichever worker runs the next part.
func TestWholeScanInSlices(t *testing.T) {
	t.Parallel()
	r := setup(t)
	r.fill(2 * restEvery)
	r.keep("lost", record(order.Awaiting, entrustbus.KindIssue))
	total, slices := 0, 0
	for done := false; !done; slices++ {
		w := r.worker(fmt.Sprint("w", slices), later)
		w.Every = 4 * time.Nanosecond // a part of one record, or of those read by then
		if slices > 2 {
			w.Every = 0
		}
		repairs, err := w.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last, err := w.Control.ReadScan(t.Context(), control.ScanFull)
		if err != nil || last.Cursor == 0 {
			t.Fatalf("kept as %+v, %v", last, err)
		}
		total, done = total+repairs.Lost, last.Complete
	}
	if total != 1 || slices != 4 {
		t.Errorf("%d slices found %d lost orders, want 4 and 1", slices, total)
	}
}

// Cursors of another stream, or past the end of this one, are invalid: every record is read
// again.
func TestCursorsOfAnotherStream(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *rig, recent *control.Scan){
		"the parked stream was made again": func(r *rig, _ *control.Scan) {
			err := r.js.DeleteStream(r.t.Context(), r.layout.Parked)
			if err == nil {
				_, err = streams.Provision(r.t.Context(), r.js, r.layout)
			}
			if err != nil {
				r.t.Fatal(err)
			}
		},
		"the ledger lost its end":        func(_ *rig, s *control.Scan) { s.Cursor += 1000 },
		"the parked stream lost its end": func(_ *rig, s *control.Scan) { s.Parked += 1000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			w := r.worker("w1", later)
			rec := record(order.Awaiting, entrustbus.KindIssue)
			r.keep("x", rec)
			r.schedule(wake("x", rec))
			r.scans(w, Repairs{})
			if err := r.wakeups.Cancel(t.Context(), key("x"), 0); err != nil {
				t.Fatal(err)
			}
			r.scans(w, Repairs{}) // the record was read
			s, err := w.Control.ReadScan(t.Context(), control.ScanRecent)
			if err != nil {
				t.Fatal(err)
			}
			change(r, &s)
			if err := w.Control.SaveScan(t.Context(), control.ScanRecent, &s); err != nil {
				t.Fatal(err)
			}
			r.scans(w, Repairs{Lost: 1})
			r.scans(w, Repairs{})
		})
	}
}

// A scan ends although the streams grow while it reads.
func TestScanEndsWhileStreamsMove(t *testing.T) {
	t.Parallel()
	r := setup(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // one order whose wake-up is always ahead of the scan
		defer close(stopped)
		rec := record(order.Awaiting, entrustbus.KindIssue)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := r.wakeups.Schedule(t.Context(), wake(fmt.Sprint("moving-", i%3), rec)); err != nil {
				return
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	r.eventually("traffic", func() bool { return r.count(r.layout.Parked) == 3 })
	for range 3 {
		r.scans(r.worker("w1", later), Repairs{})
	}
}

// A record from the future, after the server's clock was set back, is read, and does not stop
// the scan.
func TestRecordsOfTheFuture(t *testing.T) {
	t.Parallel()
	r := setup(t)
	r.scans(r.worker("w1", 0), Repairs{})
	r.keep("x", record(order.Awaiting, entrustbus.KindIssue))
	r.scans(r.worker("w1", -settling/2), Repairs{}) // the largest error of a measurement
	r.scans(r.worker("w1", -time.Hour), Repairs{Lost: 1})
}

// The watchdog of a worker at a leaf node scans the streams of the hub, although the leaf
// denies it every plain subject of keys.
func TestScanInAnotherDomain(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	leaves := listener.Addr().String()
	listener.Close()
	domain := func(name string) string {
		return fmt.Sprintf("jetstream { store_dir: %q, domain: %s }", t.TempDir(), name)
	}
	hub := testbed.Start(t, domain("hub"), fmt.Sprintf("leafnodes { listen: %q }", leaves))
	leaf := testbed.Start(t, domain("leaf"), fmt.Sprintf("leafnodes { remotes: [ { url: \"nats://%s\", deny_exports: [\"$KV.>\"] } ] }", leaves))
	r := setupOn(t, hub)
	js, err := jetstream.NewWithDomain(leaf.Conn(t), "hub")
	if err != nil {
		t.Fatal(err)
	}
	r.keep("x", record(order.Awaiting, entrustbus.KindIssue))
	w := r.worker("w1", later)
	w.JS, w.Ledger, w.Wakeups = js, ledger.New(js, r.layout.Orders), wakeup.New(js, r.layout.Parked, r.layout.Subjects())
	w.Control = control.Open(control.Config{JS: js, Bucket: r.layout.Control, Worker: "leaf"})
	r.eventually("leaf that joined", func() bool {
		_, err := js.KeyValue(t.Context(), r.layout.Control)
		return err == nil
	})
	if pause := w.turn(t.Context(), w.Control.WatchdogLease()); pause != w.Every {
		t.Errorf("a pause of %s; the log says:\n%s", pause, r.log)
	}
	if ok, err := r.wakeups.Wakes(t.Context(), key("x"), 0); !ok || err != nil {
		t.Errorf("the order is woken: %v, %v; the log says:\n%s", ok, err, r.log)
	}
}
