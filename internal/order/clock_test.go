package order

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// TestServerClockGoesBack: the order lease of a record from the future is over once a worker
// saw the same revision for a whole lease.
func TestServerClockGoesBack(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	cur := b.stored(Submitting)
	const back = -time.Hour
	d := b.machine(0).Decide(begin.Add(back), 0.5, b.key, cur, b.delivered())
	if d.Wakeup == nil || d.Wakeup.Observed != cur.Revision || d.Wakeup.Due.Sub(begin) < back+b.Lease {
		t.Fatalf("%s, observed %+v: want a wake-up after a whole lease", sketch(&d), d.Wakeup)
	}
	woken := Woken{Wakeup: *d.Wakeup, Remains: Remains{CanLookUp: true}, Request: b.request}
	later := back + b.Lease + time.Second
	if got, want := b.decide(later, cur, woken), "record indeterminate, wake-up resubmit 3m0s, ack"; got != want {
		t.Errorf("the same revision:\n got %s\nwant %s", got, want)
	}
	cur.Revision++
	d = b.machine(0).Decide(begin.Add(later), 0.5, b.key, cur, woken)
	if d.Record != nil || d.Wakeup == nil || d.Wakeup.Observed != cur.Revision {
		t.Errorf("another revision: %s, want another wait", sketch(&d))
	}
}

// TestEarlyWakeup: a due message that comes too early is scheduled again.
func TestEarlyWakeup(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	ev := b.woken(Awaiting).(Woken)
	for _, row := range []struct {
		early time.Duration
		want  string
	}{
		{time.Hour, "wake-up poll 0s, ack"},
		{2 * time.Second, "wake-up poll 0s, ack"},
		{tooEarly, "call poll"},
		{0, "call poll"},
	} {
		if got := b.decide(-row.early, b.stored(Awaiting), ev); got != row.want {
			t.Errorf("%s early: %s, want %s", row.early, got, row.want)
		}
	}
}

// TestEarlyWakeupOfAnotherClock: a server whose clock is ahead fires by its own clock. The
// wake-up waits by that clock, and the due time of the order stays.
func TestEarlyWakeupOfAnotherClock(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	ev := b.woken(Awaiting).(Woken)
	const early, ahead = time.Hour, 3 * time.Hour
	now := ev.Wakeup.Due.Add(-early)
	ev.Fired = now.Add(ahead)
	d := b.machine(0).Decide(now, 0.5, b.key, b.stored(Awaiting), ev)
	if d.Wakeup == nil || !d.Wakeup.Due.Equal(ev.Wakeup.Due) || !d.Wakeup.At.Equal(now.Add(ahead+early)) {
		t.Errorf("%s: %+v, want it due at the same time, fired at %s", sketch(&d), d.Wakeup, now.Add(ahead+early))
	}
	if !ev.Wakeup.Early(now) || ev.Wakeup.Early(ev.Wakeup.Due.Add(-tooEarly)) {
		t.Error("Early disagrees with the decision")
	}
}

// TestForeignInstants: a time that a host with a wrong clock wrote counts only within bounds of
// the server's store time.
func TestForeignInstants(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	const ahead = 24 * time.Hour

	cur := b.stored(Awaiting)
	cur.Deadline = begin.Add(ahead)
	poll := Answered{Call: Call{Op: OpPoll}, Answer: Answer{Word: Pending}, Request: b.request}
	if got, want := b.decide(b.MaxWaitLimit, cur, poll), "record concluded, letter expired, result expired, close, no wake-up, ack"; got != want {
		t.Errorf("a deadline beyond the limit:\n got %s\nwant %s", got, want)
	}

	cur = b.stored(Submitting)
	cur.SubmittedAt = begin.Add(ahead)
	if got, want := b.decide(b.Lease, cur, b.delivered()), "record indeterminate, wake-up resubmit 3m0s, ack"; got != want {
		t.Errorf("a submission in the future:\n got %s\nwant %s", got, want)
	}
	cur = b.stored(Indeterminate)
	cur.SubmittedAt = begin.Add(ahead)
	if got, want := b.decide(time.Minute, cur, b.delivered()), "wake-up resubmit 3m0s, ack"; got != want {
		t.Errorf("a submission in the future, looked up:\n got %s\nwant %s", got, want)
	}
}

// TestSlowSubmission: the record of a submission may be written long after its decision, and
// the call follows the record.
func TestSlowSubmission(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	const slow = time.Hour
	cur := b.stored(Submitting)
	cur.At = begin.Add(slow)
	for _, row := range []struct {
		name  string
		after time.Duration
		ev    Event
		want  string
	}{
		{"taken over", slow + b.Lease, b.delivered(), "record indeterminate, wake-up resubmit 1h3m0s, ack"},
		{"not answered", slow + time.Second, Answered{
			Call: Call{Op: OpEnroll, Owner: "b", Submission: 1}, Answer: Answer{Word: NoAnswer, Error: fault},
			Remains: Remains{CanLookUp: true}, Request: b.request,
		}, "record indeterminate, wake-up resubmit 1h3m0s, ack"},
	} {
		if got := b.decide(row.after, cur, row.ev); got != row.want {
			t.Errorf("%s:\n got %s\nwant %s", row.name, got, row.want)
		}
	}
}

// TestSubmitMaxWait: an order that the gateway does not accept waits for SubmitMaxWait and then
// fails.
func TestSubmitMaxWait(t *testing.T) {
	t.Parallel()
	for _, kind := range []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindRevoke} {
		b := tableOf(kind)
		op := OpEnroll
		if kind == entrustbus.KindRevoke {
			op = OpRevoke
		}
		cur, waited := b.stored(Submitting), time.Duration(0)
		for range 10 {
			d := b.machine(0).Decide(begin, 0.5, b.key, cur, Answered{
				Call: Call{Op: op, Owner: "b", Submission: cur.Submissions}, Answer: Answer{Word: NotAccepted, Written: true, Error: fault}, Request: b.request,
			})
			if d.Result != nil {
				if waited != b.SubmitMaxWait || d.Result.Result.Outcome != entrustbus.OutcomeFailed {
					t.Errorf("%s: %s after %s, want failed after %s", kind, sketch(&d), waited, b.SubmitMaxWait)
				}
				break
			}
			waited = d.Record.Waited
			cur.Record = d.Record.to(Submitting)
			cur.Owner, cur.Lease = "b", b.Lease
		}
		if waited != b.SubmitMaxWait {
			t.Errorf("%s: waited %s, want %s", kind, waited, b.SubmitMaxWait)
		}
	}
}

// TestRevocationWithoutAnswers: a revocation whose answers are lost is repeated until
// SubmitMaxWait, however often its call was not accepted before.
func TestRevocationWithoutAnswers(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindRevoke)
	lost := Answered{Call: Call{Op: OpRevoke, Owner: "b", Submission: 1}, Answer: Answer{Word: NoAnswer, Error: fault}, Request: b.request}
	for _, row := range []struct {
		waited time.Duration
		want   string
	}{
		{b.SubmitMaxWait - time.Minute, "record indeterminate, wake-up revoke 1m0s, ack"},
		{b.SubmitMaxWait, "record concluded, letter unconfirmed, result unconfirmed, close, no wake-up, ack"},
	} {
		cur := b.stored(Submitting)
		cur.Tries, cur.Waited, cur.Request = 30, row.waited, b.q.Raw
		if got := b.decide(0, cur, lost); got != row.want {
			t.Errorf("after %s: %s, want %s", row.waited, got, row.want)
		}
	}
}

// TestTrackingIDOfAnUnreadableRequest: an order whose request can no longer be read ends with
// the tracking id of its answer. A replay polls by that id.
func TestTrackingIDOfAnUnreadableRequest(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	d := b.machine(0).Decide(begin, 0.5, b.key, b.stored(Submitting), Answered{
		Call: Call{Op: OpEnroll, Owner: "b", Submission: 1}, Answer: Answer{Word: Pending, TrackingID: "T"},
		Request: func() *Request { return nil },
	})
	if d.Result == nil || d.Result.Result.TrackingID != "T" || d.Result.Result.Outcome != entrustbus.OutcomeUnconfirmed {
		t.Errorf("%s: %+v, want an end as unconfirmed under its tracking id", sketch(&d), d.Result)
	}
}
