package wakeup_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// A due message that the stream could not store leaves its wake-up stuck in the server, for
// example after a full disk. A new schedule frees it once the stream accepts messages again.
func TestRescheduleStuckWakeup(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	r.patient()
	ctx := t.Context()
	st, err := r.js.Stream(ctx, r.layout.Parked)
	if err != nil {
		t.Fatal(err)
	}
	good := st.CachedInfo().Config
	narrow := good
	narrow.MaxMsgSize = 16 << 10
	// The stream must be limited before the wake-up is due, however slow the machine is.
	var large *order.Wakeup
	for wait := time.Second; ; wait *= 2 {
		large = wake("x", time.Now().Add(wait))
		large.Request.Body = make([]byte, 32<<10)
		r.schedule(large)
		if _, err := r.js.UpdateStream(ctx, narrow); err != nil {
			t.Fatal(err)
		}
		if time.Now().Before(large.Due) {
			break
		}
		if _, err := r.js.UpdateStream(ctx, good); err != nil {
			t.Fatal(err)
		}
		r.fired("x")
	}
	// The server fires in the order of sequences: once a later and smaller wake-up has fired,
	// it has tried this one.
	r.schedule(wake("small", large.Due))
	r.fired("small")
	if _, err := r.js.UpdateStream(ctx, good); err != nil {
		t.Fatal(err)
	}
	r.schedule(wake("smaller", time.Now()))
	r.fired("smaller") // the server does not repeat the failed one by itself
	found := r.all()
	if len(found) != 1 || found[0].Fired || found[0].Key.ID != "x" {
		t.Fatalf("a scan found %+v, want one wake-up that has not fired", found)
	}
	again := *found[0].Wakeup
	again.Due = time.Now().UTC()
	if ok, err := r.store.Reschedule(ctx, &again, found[0].Sequence); err != nil || !ok {
		t.Fatalf("scheduling it again: %v, %v", ok, err)
	}
	if ok, err := r.store.Reschedule(ctx, &again, found[0].Sequence); err != nil || ok {
		t.Errorf("a wake-up that changed since it was read was scheduled again: %v, %v", ok, err)
	}
	r.fired("x")
}

// A scan reads wake-ups and due messages without taking them.
func TestAll(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	const n = 600 // several batches: each is bounded in bytes too
	for i := range n {
		w := wake(fmt.Sprint("s", i), time.Now().Add(time.Hour))
		w.Request.Body = make([]byte, 10<<10)
		r.schedule(w)
	}
	for _, lane := range order.Lanes() {
		w := wake("fired-"+string(lane), time.Now())
		w.Lane = lane
		r.schedule(w)
		r.next(r.lane(lane))
	}
	for range 2 {
		waiting, fired := 0, map[order.Lane]int{}
		for _, f := range r.all() {
			if f.Fired {
				fired[f.Lane]++
			} else {
				waiting++
			}
		}
		if waiting != n || len(fired) != len(order.Lanes()) {
			t.Errorf("a scan met %d wake-ups, and due messages of %v; want %d and one of each lane", waiting, fired, n)
		}
	}
	for _, err := range r.store.All(t.Context()) {
		t.Log("the first one met:", err)
		break // a caller may stop
	}
}

// A due message that the server counts as acknowledged and still keeps does not hide a lost
// wake-up. Its removal does not affect other messages. A purge of a due subject makes such
// messages here; a killed server leaves some too.
func TestDeadDueMessage(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	ctx := t.Context()
	r.patient()
	var handed *jetstream.MsgMetadata // of b
	for _, id := range []string{"a", "b"} {
		r.schedule(wake(id, time.Now()))
		_, m := r.next(r.due) // in flight, not acknowledged
		var err error
		if handed, err = m.Metadata(); err != nil {
			t.Fatal(err)
		}
	}
	a := wake("a", time.Now())
	r.wakes(a.Key, a.Generation, true, "a due message in flight")
	st, err := r.js.Stream(ctx, r.layout.Parked)
	if err != nil {
		t.Fatal(err)
	}
	// The server removes purged messages from the consumer's list in two ways at once. It
	// forgets the others only when one of them comes first: mostly the first time.
	var settled uint64
	for try := 0; settled < handed.Sequence.Stream && try < 20; try++ {
		r.schedule(wake("c", time.Now()))
		r.next(r.due)
		if err := st.Purge(ctx, jetstream.WithPurgeSubject(r.layout.Subjects().Due("poll", "shop", "c"))); err != nil {
			t.Fatal(err)
		}
		r.schedule(wake("d", time.Now()))
		_, m := r.next(r.due)
		r.ack(m)
		if settled, err = r.store.Settled(ctx, order.LanePoll); err != nil {
			t.Fatal(err)
		}
	}
	var dead []uint64
	for _, f := range r.all() {
		if f.Fired && f.Sequence <= settled {
			dead = append(dead, f.Sequence)
		}
	}
	if len(dead) != 2 {
		t.Fatalf("%d due messages lie at or below %d, want those of a and b", len(dead), settled)
	}
	if other, err := r.store.Settled(ctx, order.LaneRevoke); err != nil || other >= settled {
		t.Errorf("a lane without messages is settled up to %d (%v), the other up to %d", other, err, settled)
	}
	r.wakes(a.Key, a.Generation, false, "an order that nothing will wake")
	r.schedule(wake("e", time.Now()))
	_, held := r.next(r.due)
	for range 2 { // the second removal is no error
		for _, sequence := range dead {
			if err := r.store.Discard(ctx, sequence); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := held.Nak(); err != nil {
		t.Fatal(err)
	}
	r.schedule(wake("a", time.Now()))
	woken := map[string]bool{}
	for range 2 { // a again, and e, which was handed back
		w, m := r.next(r.due)
		woken[w.Key.ID] = true
		r.ack(m)
	}
	if !woken["a"] || !woken["e"] {
		t.Errorf("%v were woken, want a and e", woken)
	}
}
