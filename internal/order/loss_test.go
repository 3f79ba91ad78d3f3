package order

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// TestForgotten: a request that is older than the ledger may have been submitted. Its look-up
// waits until a call of the lost record's owner must be visible, however old the request is,
// and whatever comes meanwhile.
func TestForgotten(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	q := *b.q
	q.Ref = Ref{Sequence: 3, Time: begin.Add(-time.Hour)}
	ev := Delivered{Request: q, Remains: Remains{Forgotten: true, CanLookUp: true}}
	d := b.machine(0).Decide(begin, 0.5, b.key, Stored{}, ev)
	if got, want := sketch(&d), "record indeterminate, wake-up resubmit 3m0s, ack"; got != want {
		t.Fatalf("delivered:\n got %s\nwant %s", got, want)
	}
	cur := Stored{Record: *d.Record, Revision: 1, At: begin}
	ev.Remains.Forgotten = false // the record is younger than the loss
	if got, want := b.decide(time.Minute, cur, ev), "wake-up resubmit 3m0s, ack"; got != want {
		t.Errorf("delivered again:\n got %s\nwant %s", got, want)
	}
	if got, want := b.decide(3*time.Minute, cur, ev), "call lookup"; got != want {
		t.Errorf("once the gateway must show it:\n got %s\nwant %s", got, want)
	}
	// A request that was published again may have been submitted before it came.
	requested := cur.RequestedAt
	for _, row := range []struct{ lost, want time.Time }{
		{time.Time{}, requested},
		{requested.Add(-time.Hour), requested.Add(-time.Hour)},
		{requested.Add(time.Minute), requested},
	} {
		ev.Remains.LostSince = row.lost
		d := b.machine(0).Decide(begin.Add(3*time.Minute), 0.5, b.key, cur, ev)
		if !d.Call.Since.Equal(row.want) {
			t.Errorf("records since %s are lost: looked up since %s, want %s", row.lost, d.Call.Since, row.want)
		}
	}
}

// TestRestored: what the bus holds of an order replaces the lost record.
func TestRestored(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	result := &entrustbus.Result{ID: b.key.ID, Producer: b.key.Producer, Kind: b.kind, Outcome: entrustbus.OutcomeIssued, Serial: "a1"}
	polled := &Wakeup{Key: b.key, Kind: b.kind, Lane: LanePoll, Due: begin, Deadline: begin.Add(b.MaxWait), TrackingID: "T", Request: b.q.Raw}
	waits := &Wakeup{Key: b.key, Kind: b.kind, Lane: LaneResubmit, Due: begin, Request: b.q.Raw}
	for _, row := range []struct {
		name            string
		remains         Remains
		delivered, wake string
	}{
		{"a result", Remains{Result: result}, "record closed, ack", "ack"},
		{"a wake-up of an order that awaits approval", Remains{Wakeup: polled}, "record awaiting, wake-up poll 8m0s, ack", "record awaiting, call poll"},
		{"a wake-up of another order", Remains{Wakeup: waits}, "record indeterminate, wake-up resubmit 4m0s, ack", "record indeterminate, wake-up resubmit 4m0s, ack"},
	} {
		row.remains.Forgotten, row.remains.CanLookUp = true, true
		if got := b.decide(time.Minute, Stored{}, Delivered{Request: *b.q, Remains: row.remains}); got != row.delivered {
			t.Errorf("%s, request delivered:\n got %s\nwant %s", row.name, got, row.delivered)
		}
		w := row.remains.Wakeup
		if w == nil {
			w = waits
		}
		if got := b.decide(time.Minute, Stored{}, Woken{Wakeup: *w, Remains: row.remains, Request: b.request}); got != row.wake {
			t.Errorf("%s, woken:\n got %s\nwant %s", row.name, got, row.wake)
		}
	}
}

// TestPoisoned: the end of an order whose message crashed workers.
func TestPoisoned(t *testing.T) {
	t.Parallel()
	failed := "record concluded, letter crashed, result failed, close, ack"
	unknown := "record concluded, letter crashed, result unconfirmed, close, no wake-up, ack"
	for _, row := range []struct {
		phase Phase
		want  string
	}{
		{"", failed},
		{Submitting, "record concluded, letter crashed, result unconfirmed, close, ack"},
		{Unaccepted, "record concluded, letter crashed, result failed, close, no wake-up, ack"},
		{Indeterminate, unknown},
		{Awaiting, unknown},
		{Concluded, "letter rejected, result failed, close, no wake-up, ack"},
		{Closed, "ack"},
	} {
		b := tableOf(entrustbus.KindIssue)
		cur := b.stored(row.phase)
		if row.phase == "" {
			cur = Stored{}
		}
		if got := b.decide(time.Minute, cur, Poisoned{Request: *b.q}); got != row.want {
			t.Errorf("%q:\n got %s\nwant %s", row.phase, got, row.want)
		}
		cur.Generation = 1
		want := "ack"
		if row.phase != "" && !row.phase.Ended() {
			want = "wake-up " + string(laneOf(cur.Record)) + " 6m0s, ack" // it may have replaced the wake-up of generation 1
		}
		if got := b.decide(time.Minute, cur, Poisoned{Request: *b.q}); row.phase != "" && got != want {
			t.Errorf("%q, an earlier generation's message:\n got %s\nwant %s", row.phase, got, want)
		}
	}
}
