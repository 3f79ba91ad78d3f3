package watchdog

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// An order that nothing will wake gets a wake-up in the lane of its phase. Every other order is
// left alone. A second scan finds nothing to do.
func TestScanWakesWhatNothingWakes(t *testing.T) {
	t.Parallel()
	const (
		issue  = entrustbus.KindIssue
		revoke = entrustbus.KindRevoke
		cancel = entrustbus.KindCancel
		track  = entrustbus.KindTrack
	)
	for name, row := range map[string]struct {
		phase  order.Phase
		kind   entrustbus.Kind
		with   func(r *rig, id string, rec *order.Record) // nil: only the record
		lane   order.Lane                                 // "" when the order is left alone
		around time.Duration                              // the clock's advance; 0 is later
	}{
		"awaiting":                     {phase: order.Awaiting, kind: issue, lane: order.LanePoll},
		"awaiting track":               {phase: order.Awaiting, kind: track, lane: order.LanePoll},
		"unaccepted issue":             {phase: order.Unaccepted, kind: issue, lane: order.LaneResubmit},
		"unaccepted revocation":        {phase: order.Unaccepted, kind: revoke, lane: order.LaneRevoke},
		"unaccepted cancellation":      {phase: order.Unaccepted, kind: cancel, lane: order.LaneManage},
		"indeterminate":                {phase: order.Indeterminate, kind: issue, lane: order.LaneResubmit},
		"submitting, its message gone": {phase: order.Submitting, kind: issue, lane: order.LaneResubmit, with: gone},
		"concluded, its message gone":  {phase: order.Concluded, kind: issue, lane: order.LaneResubmit, with: gone},
		"concluded revocation":         {phase: order.Concluded, kind: revoke, lane: order.LaneRevoke, with: gone},
		"submitting, another message there": {phase: order.Submitting, kind: issue, lane: order.LaneResubmit, with: func(r *rig, id string, rec *order.Record) {
			rec.Origin = r.publish(id) // the stream was made again, and counts from 1
			rec.Origin.Time = rec.Origin.Time.Add(-time.Hour)
		}},
		"submitting, of no message": {phase: order.Submitting, kind: issue, lane: order.LaneResubmit},
		"wake-up of an earlier generation": {phase: order.Awaiting, kind: issue, lane: order.LanePoll, with: func(r *rig, id string, rec *order.Record) {
			r.schedule(wake(id, *rec))
			rec.Generation = 1
		}},
		"something else in its wake-up's place": {phase: order.Awaiting, kind: issue, lane: order.LanePoll, with: func(r *rig, id string, rec *order.Record) {
			r.schedule(wake(id, *rec))
			r.forge(id, func(h nats.Header) { h.Set("Entrust-Format", "rubbish") })
		}},

		"closed":                    {phase: order.Closed, kind: issue},
		"awaiting with a wake-up":   {phase: order.Awaiting, kind: issue, with: scheduled},
		"unaccepted with a wake-up": {phase: order.Unaccepted, kind: issue, with: scheduled},
		"submitting with a wake-up": {phase: order.Submitting, kind: issue, with: scheduled},
		"concluded with a wake-up":  {phase: order.Concluded, kind: issue, with: scheduled},
		"awaiting, its due message in flight": {phase: order.Awaiting, kind: issue, with: func(r *rig, id string, rec *order.Record) {
			w := wake(id, *rec)
			w.Due = time.Now().UTC()
			r.schedule(w)
			r.next()
		}},
		"submitting, its message there": {phase: order.Submitting, kind: issue, with: there},
		"concluded, its message there":  {phase: order.Concluded, kind: issue, with: there},
		// Its worker may have been without NATS since it wrote the record, for longer than any
		// lease.
		"awaiting, its message there":   {phase: order.Awaiting, kind: issue, with: there},
		"unaccepted, its message there": {phase: order.Unaccepted, kind: issue, with: there},
		"awaiting, young":               {phase: order.Awaiting, kind: issue, around: settling + 20*time.Second},
		"submitting, its lease runs":    {phase: order.Submitting, kind: issue, with: gone, around: settling + 20*time.Second},
		"concluded, young":              {phase: order.Concluded, kind: issue, with: gone, around: settling + 20*time.Second},
		"wake-up of a newer format": {phase: order.Awaiting, kind: issue, with: func(r *rig, id string, rec *order.Record) {
			r.schedule(wake(id, *rec))
			r.forge(id, func(h nats.Header) {
				h.Set("Entrust-Format", strconv.Itoa(order.Format+1))
				h.Del(entrustbus.HeaderDue)
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			rec := record(row.phase, row.kind)
			if row.with != nil {
				row.with(r, "x", &rec)
			}
			r.keep("x", rec)
			ahead := row.around
			if ahead == 0 {
				ahead = later
			}
			w := r.worker("w1", ahead)
			before := r.count(r.layout.Parked)
			if row.lane == "" {
				r.scans(w, Repairs{})
				if n := r.count(r.layout.Parked); n != before {
					t.Errorf("%d messages became %d", before, n)
				}
				return
			}
			r.scans(w, Repairs{Lost: 1})
			got, _, err := r.wakeups.Find(t.Context(), key("x"))
			if err != nil || got == nil {
				t.Fatalf("found %+v, %v; want a wake-up", got, err)
			}
			kept, err := r.ledger.Get(t.Context(), key("x"))
			if err != nil || kept.Revision != 1 {
				t.Errorf("the record is at revision %d (%v): a scan writes none", kept.Revision, err)
			}
			if want := order.WakeupOf(key("x"), kept.Record, got.Due); got.Lane != row.lane || !reflect.DeepEqual(got, want) {
				t.Errorf("the wake-up is %+v, want %+v in lane %s", got, want, row.lane)
			}
			if off := time.Until(got.Due) - ahead; off.Abs() > 10*time.Second {
				t.Errorf("it is due %s from now, by the clock of the watchdog", off)
			}
			r.scans(w, Repairs{})
		})
	}
}

// scheduled gives the order a wake-up.
func scheduled(r *rig, id string, rec *order.Record) { r.schedule(wake(id, *rec)) }

// there keeps the order's message in the stream.
func there(r *rig, id string, rec *order.Record) { rec.Origin = r.publish(id) }

// gone makes a record whose message is no longer in the stream.
func gone(r *rig, id string, rec *order.Record) {
	r.t.Helper()
	rec.Origin = r.publish(id)
	st, err := r.js.Stream(r.t.Context(), r.layout.Requests)
	if err == nil {
		err = st.DeleteMsg(r.t.Context(), rec.Origin.Sequence)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// A value that is not a record, and a record of a newer worker, stay unchanged and do not stop
// the scan for lost orders.
func TestScanReadsOnPastOthers(t *testing.T) {
	t.Parallel()
	r := setup(t)
	kv, err := r.js.KeyValue(t.Context(), r.layout.Orders)
	if err != nil {
		t.Fatal(err)
	}
	alien := map[string][]byte{
		"alien": []byte("no record"), "shop.alien": []byte("no record"),
		"shop.newer": newer(t, record(order.Awaiting, entrustbus.KindIssue)),
	}
	for name, data := range alien {
		if _, err := kv.Put(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.js.Publish(t.Context(), "entrust.parked.shop.alien", []byte("no wake-up")); err != nil {
		t.Fatal(err)
	}
	r.keep("lost", record(order.Awaiting, entrustbus.KindIssue))
	r.scans(r.worker("w1", later), Repairs{Lost: 1})
	if ok, err := r.wakeups.Wakes(t.Context(), key("newer"), 0); ok || err != nil {
		t.Errorf("the order of a newer format was woken: %v, %v", ok, err)
	}
	for name, data := range alien {
		if e, err := kv.Get(t.Context(), name); err != nil || !bytes.Equal(e.Value(), data) {
			t.Errorf("%s was changed (%v)", name, err)
		}
	}
	for _, word := range []string{"a value that is not a record", "not a wake-up"} {
		if !strings.Contains(r.log.String(), word) {
			t.Errorf("the log does not say %q:\n%s", word, r.log)
		}
	}
}

// A wake-up that is overdue by more than a minute did not fire. The scan schedules it for now,
// and its order is woken.
func TestScanFreesStuckWakeups(t *testing.T) {
	t.Parallel()
	r := setup(t)
	rec := record(order.Awaiting, entrustbus.KindIssue)
	r.keep("stuck", rec)
	r.schedule(wake("stuck", rec))
	// The state after a due message could not be stored: the wake-up says that it is due, and
	// the server does nothing about it.
	due := func(ago time.Duration) {
		r.forge("stuck", func(h nats.Header) {
			h.Set(entrustbus.HeaderDue, time.Now().Add(-ago).UTC().Format(time.RFC3339Nano))
		})
	}
	due(overdue / 2)
	w := r.worker("w1", 0)
	r.scans(w, Repairs{}) // it may still fire
	due(2 * overdue)
	r.scans(w, Repairs{Stuck: 1})
	m := r.next()
	got, err := r.wakeups.Read(m.Subject(), m.Headers(), m.Data())
	if err != nil || got.Key != key("stuck") || !reflect.DeepEqual(got.Request, rec.Request) || got.TrackingID != "T-1" {
		t.Errorf("woken by %+v, %v", got, err)
	}
	r.scans(w, Repairs{})
}

// A due message that the server keeps and will never deliver does not hide a lost wake-up. The
// scan removes it, and the order is woken again.
func TestScanSeesThroughDeadDueMessages(t *testing.T) {
	t.Parallel()
	r := setup(t)
	ctx := t.Context()
	rec := record(order.Awaiting, entrustbus.KindIssue)
	r.keep("hidden", rec)
	take := func(id string) jetstream.Msg {
		t.Helper()
		w := wake(id, rec)
		w.Due = time.Now().UTC()
		r.schedule(w)
		return r.next()
	}
	hidden, err := take("hidden").Metadata()
	if err != nil {
		t.Fatal(err)
	}
	w := r.worker("w1", later)
	r.scans(w, Repairs{}) // it is in flight
	st, err := r.js.Stream(ctx, r.layout.Parked)
	if err != nil {
		t.Fatal(err)
	}
	// The server forgets messages in flight when a due subject is purged and another due
	// message is acknowledged. It removes purged messages from the consumer's list in two ways
	// at once, and forgets others only when one of them comes first. Mostly that happens the
	// first time.
	settled := uint64(0)
	for try := 0; settled < hidden.Sequence.Stream && try < 20; try++ {
		take("purged")
		if err := st.Purge(ctx, jetstream.WithPurgeSubject(r.layout.Subjects().Due("poll", producer, "purged"))); err != nil {
			t.Fatal(err)
		}
		if err := take("acked").DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
		if settled, err = r.wakeups.Settled(ctx, order.LanePoll); err != nil {
			t.Fatal(err)
		}
	}
	if settled < hidden.Sequence.Stream {
		t.Fatal("the server did not forget a message in flight")
	}
	r.scans(w, Repairs{Lost: 1, Dead: 1})
	if ok, err := r.wakeups.Wakes(ctx, key("hidden"), 0); !ok || err != nil {
		t.Errorf("the order is woken: %v, %v", ok, err)
	}
	r.scans(w, Repairs{})
}

// A request that the server keeps and will never deliver wakes no order.
func TestScanSeesThroughDeadRequests(t *testing.T) {
	t.Parallel()
	r := setup(t)
	ctx := t.Context()
	rec := record(order.Submitting, entrustbus.KindIssue)
	rec.Origin = r.publish("x")
	r.keep("x", rec)
	c, err := r.js.Consumer(ctx, r.layout.Requests, streams.ConsumerIssue)
	if err != nil {
		t.Fatal(err)
	}
	take := func() jetstream.Msg {
		t.Helper()
		m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	take() // in flight, not acknowledged
	w := r.worker("w1", later)
	r.scans(w, Repairs{})
	st, err := r.js.Stream(ctx, r.layout.Requests)
	if err != nil {
		t.Fatal(err)
	}
	// As for due messages: a purge of a subject makes the server forget messages in flight.
	settled := uint64(0)
	for try := 0; settled < rec.Origin.Sequence && try < 20; try++ {
		purged := r.layout.Subjects().Request("web", entrustbus.KindIssue)
		if _, err := r.js.Publish(ctx, purged, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		take()
		if err := st.Purge(ctx, jetstream.WithPurgeSubject(purged)); err != nil {
			t.Fatal(err)
		}
		r.publish("acked")
		if err := take().DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
		info, err := c.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		settled = info.AckFloor.Stream
	}
	if settled < rec.Origin.Sequence {
		t.Fatal("the server did not forget a message in flight")
	}
	r.whole()
	r.scans(w, Repairs{Lost: 1})
}

// Many lost wake-ups are scheduled in one scan, and an order that cannot be woken does not
// delay the others.
func TestScanOfMassLoss(t *testing.T) {
	t.Parallel()
	r := setup(t)
	const n = 400            // below the number after which a scan rests
	bad := func(id string) { // no header can hold this tracking id, and the request is gone
		rec := record(order.Awaiting, entrustbus.KindIssue)
		rec.Request, rec.TrackingID = nil, strings.Repeat("x", 1<<16)
		r.keep(id, rec)
	}
	bad("bad-first")
	for i := range n {
		r.keep(fmt.Sprint("o", i), record(order.Awaiting, entrustbus.KindIssue))
	}
	bad("bad-last")
	w := r.worker("w1", later)
	for _, want := range []int{n, 0} {
		r.scans(w, Repairs{Lost: want})
		r.whole()
	}
	if got := r.count(r.layout.Parked); got != n {
		t.Errorf("%d wake-ups, want %d", got, n)
	}
	if n := strings.Count(r.log.String(), "could not be woken"); n != 2 || !strings.Contains(r.log.String(), "orders=2") {
		t.Errorf("two scans reported %d times of two bad orders:\n%s", n, r.log)
	}
}

// A wake-up that no message can hold is scheduled without the request, which the record keeps.
func TestScanOfALargeOrder(t *testing.T) {
	t.Parallel()
	r := setup(t)
	// The record fits. The wake-up does not, since it holds this header twice.
	rec := record(order.Awaiting, entrustbus.KindIssue)
	rec.Request.Body = bytes.Repeat([]byte("x"), int(r.js.Conn().MaxPayload())-4000)
	rec.Request.Header = map[string][]string{"Content-Type": {strings.Repeat("x", 3000)}}
	r.keep("large", rec)
	w := r.worker("w1", later)
	r.scans(w, Repairs{Lost: 1})
	r.scans(w, Repairs{})
	got, _, err := w.Wakeups.Find(t.Context(), order.Key{Producer: "shop", ID: "large"})
	if err != nil || got == nil || got.Request != nil || got.TrackingID != rec.TrackingID || !got.Deadline.Equal(rec.Deadline) {
		t.Errorf("the wake-up is %+v (%v)", got, err)
	}
}

// A stream that stores nothing ends the scan: the next order would fail too. Such a scan does
// not count as finished.
func TestScanStopsWhereTheBusFails(t *testing.T) {
	t.Parallel()
	r := setup(t)
	for i := range 100 {
		r.keep(fmt.Sprint("o", i), record(order.Awaiting, entrustbus.KindIssue))
	}
	st, err := r.js.Stream(t.Context(), r.layout.Parked)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.Subjects = slices.DeleteFunc(cfg.Subjects, func(s string) bool { return s == r.layout.Subjects().ParkedFilter() })
	if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	w := r.worker("w1", later)
	if got, err := w.Scan(t.Context()); err == nil || got != (Repairs{}) {
		t.Errorf("the watchdog repaired %+v, %v; want an error", got, err)
	}
	if last, err := w.Control.ReadScan(t.Context(), control.ScanRecent); err != nil || last.Revision != 0 {
		t.Errorf("a scan that failed is kept as %+v (%v)", last, err)
	}
}

// A scan records when it finished, how long it took, and how long the oldest order has waited.
func TestScanIsKept(t *testing.T) {
	t.Parallel()
	r := setup(t)
	w := r.worker("w1", 0)
	r.scans(w, Repairs{})
	last := func() control.Scan {
		t.Helper()
		s, err := w.Control.ReadScan(t.Context(), control.ScanRecent)
		if err != nil || !s.Complete || s.Took <= 0 {
			t.Fatalf("the scan is kept as %+v (%v)", s, err)
		}
		return s
	}
	first := last()
	if first.Oldest != 0 {
		t.Errorf("no order waits, and the oldest for %s", first.Oldest)
	}
	if *first.Waiting != (control.Waiting{}) || first.NextDue != nil {
		t.Errorf("no order waits, and the scan counted %+v, the first due in %v", *first.Waiting, first.NextDue)
	}
	for id, ago := range map[string]time.Duration{"young": time.Minute, "oldest": 3 * time.Hour, "other": time.Hour} {
		rec := record(order.Awaiting, entrustbus.KindIssue)
		rec.RequestedAt = time.Now().Add(-ago).UTC()
		r.schedule(wake(id, rec))
	}
	for id, phase := range map[string]order.Phase{"closed": order.Closed, "concluded": order.Concluded} { // they do not wait
		rec := record(phase, entrustbus.KindIssue)
		rec.RequestedAt = time.Now().Add(-9 * time.Hour).UTC()
		r.keep(id, rec)
	}
	r.scans(w, Repairs{})
	if second := last(); (second.Oldest-3*time.Hour).Abs() > time.Minute || second.Revision <= first.Revision {
		t.Errorf("the oldest order waits for %s, want 3h", second.Oldest)
	}
	for id, phase := range map[string]order.Phase{"deferred": order.Unaccepted, "doubtful": order.Indeterminate, "leased": order.Submitting} {
		r.schedule(wake(id, record(phase, entrustbus.KindIssue)))
	}
	r.scans(w, Repairs{})
	third, want := last(), control.Waiting{Awaiting: 3, Unaccepted: 1, Indeterminate: 1, Other: 1}
	if *third.Waiting != want {
		t.Errorf("the scan counted %+v, want %+v", *third.Waiting, want)
	}
	if third.NextDue == nil || *third.NextDue <= 0 {
		t.Errorf("the first order is due in %v", third.NextDue)
	}
}

// A scan holds one batch of messages and eight bytes per order, however many orders wait.
func TestScanHoldsLittle(t *testing.T) {
	server := testbed.StartProcess(t) // with memory of its own
	r := setupOn(t, server)
	const n, size = 1500, 32 << 10
	rec := record(order.Awaiting, entrustbus.KindIssue)
	rec.Request.Body = make([]byte, size)
	r.schedule(wake("pattern", rec))
	first, _, err := r.wakeups.Find(t.Context(), key("pattern"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		w := *first
		w.Key = key(fmt.Sprint("o", i))
		r.schedule(&w)
	}
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	w := r.worker("w1", 0)
	before := live()
	done, peak := make(chan error, 1), before
	go func() { _, err := w.Scan(t.Context()); done <- err }()
	for scanning := true; scanning; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			scanning = false
		default:
			peak = max(peak, live())
			time.Sleep(20 * time.Millisecond) // garbage collection takes time from the scan
		}
	}
	if held := int64(peak) - int64(before); held > n*size/2 {
		t.Errorf("a scan of %d MiB held %d MiB at once", n*size>>20, held>>20)
	}
}

// An order that was handled between the scan and its repair is left alone: the repair asks the
// leaders.
func TestReviveAsksAgain(t *testing.T) {
	t.Parallel()
	r := setup(t)
	w := r.worker("w1", later)
	rec := record(order.Awaiting, entrustbus.KindIssue)
	for id, prepare := range map[string]func(string){
		"never-was": func(string) {},
		"closed":    func(id string) { r.keep(id, record(order.Closed, entrustbus.KindIssue)) },
		"woken":     func(id string) { r.keep(id, rec); r.schedule(wake(id, rec)) },
		"newer": func(id string) {
			if _, err := r.js.Publish(t.Context(), "$KV."+r.layout.Orders+".shop."+id, newer(t, rec)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		prepare(id)
		if revived, err := w.revive(t.Context(), key(id)); revived || err != nil {
			t.Errorf("%s: %v, %v", id, revived, err)
		}
	}
	r.keep("lost", rec)
	for phase, ahead := range map[order.Phase]time.Duration{order.Awaiting: settling + 20*time.Second, order.Submitting: settling + 20*time.Second, order.Concluded: settling + 20*time.Second} {
		r.keep("young-"+string(phase), record(phase, entrustbus.KindIssue))
		if revived, err := r.worker("w2", ahead).revive(t.Context(), key("young-"+string(phase))); revived || err != nil {
			t.Errorf("written since the scan read it, %s: %v, %v", phase, revived, err)
		}
	}
	if revived, err := w.revive(t.Context(), key("lost")); !revived || err != nil {
		t.Errorf("a lost order: %v, %v", revived, err)
	}
}
