package parking_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/parking"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// What is parked comes back whole: state, request, and the request's own
// headers, those included that the server would strip or obey.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	want := slot("x", time.Now().Add(300*time.Millisecond).UTC())
	r.arm(want)
	got, m := r.next(5 * time.Second)
	got.Request.Header["traceparent"] = got.Request.Header["traceparent"][:1]
	if !got.Due.Equal(want.Due) || !got.Deadline.Equal(want.Deadline) {
		t.Errorf("times are %s and %s, want %s and %s", got.Due, got.Deadline, want.Due, want.Deadline)
	}
	got.Due, got.Deadline, want.Due, want.Deadline = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("came back as %+v\nwith %+v,\nwant %+v\nwith %+v", got, got.Request, want, want.Request)
	}
	if trace := m.Headers().Get("traceparent"); trace != "00-1-2-3" {
		t.Errorf("the trace on the bus is %q", trace)
	}
}

// Times are not cut to seconds: what is due between two seconds fires after it.
func TestNeverEarly(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	base := time.Now().Truncate(time.Second).Add(2 * time.Second)
	for i := range 10 {
		r.arm(slot(fmt.Sprint("s", i), base.Add(time.Duration(i)*99*time.Millisecond)))
	}
	for range 10 {
		s, m := r.next(10 * time.Second)
		if now := time.Now(); now.Before(s.Due) {
			t.Errorf("%s came %s early", s.Key, s.Due.Sub(now))
		}
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
	}
}

// One order has one slot: parking it again replaces the time.
func TestArmReplaces(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	r.arm(slot("x", time.Now().Add(time.Hour)))
	second := slot("x", time.Now().Add(200*time.Millisecond))
	second.Attempt = 9
	r.arm(second)
	got, m := r.next(5 * time.Second)
	if got.Attempt != 9 {
		t.Errorf("the slot of attempt %d fired", got.Attempt)
	}
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.silent(time.Second)
}

// A slot that was removed and armed again fires: there is no message id that
// the server could take for a duplicate.
func TestArmAfterDisarm(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	s := slot("x", time.Now().Add(500*time.Millisecond))
	r.arm(s)
	if err := r.lot.Disarm(t.Context(), s.Key, s.Replay); err != nil {
		t.Fatal(err)
	}
	if armed, err := r.lot.Armed(t.Context(), s.Key, s.Replay); err != nil || armed {
		t.Fatalf("armed after its removal: %v, %v", armed, err)
	}
	r.silent(time.Second)
	r.arm(slot("x", time.Now().Add(100*time.Millisecond)))
	r.next(5 * time.Second)
	if armed, err := r.lot.Armed(t.Context(), s.Key, s.Replay); err != nil || !armed {
		t.Errorf("a due message in hand does not count as armed: %v, %v", armed, err)
	}
	if armed, err := r.lot.Armed(t.Context(), s.Key, s.Replay+1); err != nil || armed {
		t.Errorf("a due message of an earlier generation counts as armed: %v, %v", armed, err)
	}
}

// The end of one generation leaves the slot alone that a replay of the order parked
// meanwhile.
func TestDisarmSparesLaterGenerations(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	s := slot("x", time.Now().Add(time.Hour))
	r.arm(s)
	for _, row := range []struct {
		replay int
		armed  bool
	}{{s.Replay - 1, true}, {s.Replay, false}, {s.Replay, false}} {
		if err := r.lot.Disarm(t.Context(), s.Key, row.replay); err != nil {
			t.Fatal(err)
		}
		if armed, err := r.lot.Armed(t.Context(), s.Key, s.Replay); err != nil || armed != row.armed {
			t.Errorf("after the end of generation %d the slot of %d is there: %v (%v), want %v", row.replay, s.Replay, armed, err, row.armed)
		}
	}
}

// A slot replaced at the moment that it fires may lose its new time, but a
// wake-up always comes.
func TestReplaceWhileFiring(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	const n = 300
	due := time.Now().Add(1500 * time.Millisecond)
	for i := range n {
		r.arm(slot(fmt.Sprint("s", i), due))
	}
	<-time.After(time.Until(due.Add(-20 * time.Millisecond)))
	for i := range n {
		r.arm(slot(fmt.Sprint("s", i), time.Now().Add(time.Second)))
	}
	woken := map[string]bool{}
	for end := time.Now().Add(20 * time.Second); len(woken) < n && time.Now().Before(end); {
		batch, err := r.due.Fetch(100, jetstream.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			s, err := r.lot.Due(m.Subject(), m.Headers(), m.Data())
			if err != nil {
				t.Fatal(err)
			}
			woken[s.Key.ID] = true
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(woken) != n {
		t.Errorf("%d of %d orders were woken", len(woken), n)
	}
}

// A wake-up whose ack was lost comes again, and merges in the one slot.
func TestLostAck(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	r.patient()
	r.arm(slot("x", time.Now()))
	_, first := r.next(10 * time.Second)
	r.arm(slot("x", time.Now().Add(time.Hour))) // what its handler armed before its ack was lost
	if err := first.Nak(); err != nil {         // as the end of the ack wait does
		t.Fatal(err)
	}
	_, again := r.next(10 * time.Second)
	if meta, err := again.Metadata(); err != nil || meta.NumDelivered != 2 {
		t.Fatalf("delivered %+v, %v; want the same message again", meta, err)
	}
	r.arm(slot("x", time.Now())) // of the second handling
	if err := again.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, last := r.next(10 * time.Second)
	if err := last.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := r.js.Stream(t.Context(), r.layout.Parked)
	if err != nil {
		t.Fatal(err)
	}
	if n := st.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d messages are left of one order that was woken and acknowledged, want none", n)
	}
}

// A fire that the stream could not store stays stuck in the server, as after a
// full disk; a rescue frees it once the stream takes messages again.
func TestRescueStuckSlot(t *testing.T) {
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
	// The stream must be narrow before the slot is due, however slow the machine.
	var large *parking.Slot
	for wait := time.Second; ; wait *= 2 {
		large = slot("x", time.Now().Add(wait))
		large.Request.Body = make([]byte, 32<<10)
		r.arm(large)
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
	// The server fires in the order of sequences: when a later and smaller slot has
	// come, it has tried this one.
	r.arm(slot("small", large.Due))
	r.fired("small")
	if _, err := r.js.UpdateStream(ctx, good); err != nil {
		t.Fatal(err)
	}
	r.arm(slot("smaller", time.Now()))
	r.fired("smaller") // the server does not try again by itself
	var found []parking.Found
	for f, err := range r.lot.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, f)
	}
	if len(found) != 1 || found[0].Fired || found[0].Key.ID != "x" {
		t.Fatalf("a scan found %+v, want one slot that has not fired", found)
	}
	stale := *found[0].Slot
	found[0].Slot.Due = time.Now()
	if ok, err := r.lot.Rescue(ctx, found[0].Slot); err != nil || !ok {
		t.Fatalf("rescuing: %v, %v", ok, err)
	}
	if ok, err := r.lot.Rescue(ctx, &stale); err != nil || ok {
		t.Errorf("a slot that changed since it was read was rescued again: %v, %v", ok, err)
	}
	r.fired("x")
}

// A scan reads slots and wake-ups without taking any.
func TestAll(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	const n = 600 // several batches: each is bounded in bytes too
	for i := range n {
		s := slot(fmt.Sprint("s", i), time.Now().Add(time.Hour))
		s.Request.Body = make([]byte, 10<<10)
		r.arm(s)
	}
	r.arm(slot("fired", time.Now()))
	r.next(5 * time.Second)
	for range 2 {
		slots, fired := 0, 0
		for f, err := range r.lot.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if f.Fired {
				fired++
			} else {
				slots++
			}
		}
		if slots != n || fired != 1 {
			t.Errorf("a scan met %d slots and %d wake-ups, want %d and 1", slots, fired, n)
		}
	}
}

// A wake-up that the server takes for acknowledged, and keeps: it hides no lost
// slot, and can be removed without harm to the others. Purging a due subject makes
// such ones here; a server that is killed leaves some too.
func TestDeadWakeUp(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	ctx := t.Context()
	r.patient()
	var handed *jetstream.MsgMetadata // of b
	for _, id := range []string{"a", "b"} {
		r.arm(slot(id, time.Now()))
		_, m := r.next(5 * time.Second) // in a worker's hands, not acked
		var err error
		if handed, err = m.Metadata(); err != nil {
			t.Fatal(err)
		}
	}
	a := slot("a", time.Now())
	if armed, err := r.lot.Armed(ctx, a.Key, a.Replay); err != nil || !armed {
		t.Fatalf("a wake-up in hand does not count as armed: %v, %v", armed, err)
	}
	st, err := r.js.Stream(ctx, r.layout.Parked)
	if err != nil {
		t.Fatal(err)
	}
	// The server takes what is purged off the consumer's list in two ways at once,
	// and forgets the others only where the one wins: mostly the first time.
	var settled uint64
	for try := 0; settled < handed.Sequence.Stream && try < 20; try++ {
		r.arm(slot("c", time.Now()))
		r.next(5 * time.Second)
		if err := st.Purge(ctx, jetstream.WithPurgeSubject(r.layout.Subjects().Due("shop", "c"))); err != nil {
			t.Fatal(err)
		}
		r.arm(slot("d", time.Now()))
		if _, m := r.next(5 * time.Second); m.DoubleAck(ctx) != nil {
			t.Fatal("the last wake-up could not be acknowledged")
		}
		if settled, err = r.lot.Settled(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var dead []uint64
	for f, err := range r.lot.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Fired && f.Sequence <= settled {
			dead = append(dead, f.Sequence)
		}
	}
	if len(dead) != 2 {
		t.Fatalf("%d wake-ups lie at or below %d, want those of a and b", len(dead), settled)
	}
	if armed, err := r.lot.Armed(ctx, a.Key, a.Replay); err != nil || armed {
		t.Errorf("an order that nothing will wake up counts as armed: %v, %v", armed, err)
	}
	r.arm(slot("e", time.Now()))
	_, held := r.next(5 * time.Second)
	for range 2 { // removing one that is gone is no error
		for _, sequence := range dead {
			if err := r.lot.Discard(ctx, sequence); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := held.Nak(); err != nil {
		t.Fatal(err)
	}
	r.arm(slot("a", time.Now()))
	woken := map[string]bool{}
	for range 2 { // a anew, and e, which was handed back
		s, m := r.next(5 * time.Second)
		woken[s.Key.ID] = true
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if !woken["a"] || !woken["e"] {
		t.Errorf("%v were woken, want a and e", woken)
	}
}

// Whether a message is gone only the leader of its stream knows: a replica that
// lags still shows it. Here nobody answers for a replica.
func TestDiscardAsksTheLeader(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t, `authorization { users: [
		{ user: all, password: s }
		{ user: leader, password: s, permissions: { publish: { deny: "$JS.API.DIRECT.GET.>" } } }
	] }`)
	js := server.JetStream(t, nats.UserInfo("all", "s"))
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	lot := parking.New(server.JetStream(t, nats.UserInfo("leader", "s")), layout.Parked, layout.Subjects())
	if err := lot.Arm(ctx, slot("x", time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	for _, sequence := range []uint64{1, 1, 99} { // there, gone, never was
		if err := lot.Discard(ctx, sequence); err != nil {
			t.Errorf("removing message %d: %v", sequence, err)
		}
	}
}
