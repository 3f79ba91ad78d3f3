package order

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// sketch returns a decision in one line, in the order of its effects.
func sketch(d *Decision) string {
	var parts []string
	add := func(words ...string) { parts = append(parts, strings.Join(words, " ")) }
	for _, s := range Steps() {
		if !d.Has(s) {
			continue
		}
		switch s {
		case StepRecord:
			add("record", string(d.Record.Phase))
		case StepLetter:
			add("letter", string(d.Letter.Reason))
		case StepResult:
			add("result", string(d.Result.Result.Outcome))
		case StepClosed:
			add("close")
		case StepWakeup:
			if d.Wakeup != nil {
				add("wake-up", string(d.Wakeup.Lane), d.Wakeup.Due.Sub(begin).Round(time.Second).String())
			} else {
				add("no wake-up")
			}
		case StepSettle:
			add([]string{"", "ack", "ack surely", "return"}[d.Settle.Verb])
		}
	}
	if d.Keep != nil {
		add("keeps", string(d.Keep.Phase))
	}
	if d.Call != nil {
		add("call", string(d.Call.Op))
	}
	return strings.Join(parts, ", ")
}

// table holds the request and the records of a table test.
type table struct {
	*scene
	key Key
	q   *Request
}

func tableOf(kind entrustbus.Kind) table {
	if kind == entrustbus.KindCancel {
		s := newScene("table", entrustbus.KindIssue, nil)
		return table{s, keys[cancelling], s.cancellation}
	}
	s := newScene("table", kind, nil)
	return table{s, keys[watched], s.requests[0]}
}

// stored is a record of the table's order in a phase, stored by worker b at begin.
func (b table) stored(p Phase) Stored {
	r := Record{Kind: b.q.Kind, Digest: b.q.Digest, CAID: "ca", ProfileID: "profile", Submissions: 1, SubmittedAt: begin, Request: b.q.Raw}
	r.Phase = p
	switch p {
	case Submitting:
		r.Owner, r.Lease, r.Request = "b", b.Lease, nil
	case Unaccepted:
		r.Cause = fault
	case Indeterminate:
		r.Cause = lost("as the table says")
	case Awaiting:
		r.TrackingID, r.Deadline = "T", begin.Add(b.MaxWait)
	case Concluded:
		r.Conclusion = &Conclusion{Result: &entrustbus.Result{ID: b.key.ID, Producer: b.key.Producer, Kind: r.Kind, Outcome: entrustbus.OutcomeFailed, Error: fault}, Reason: Rejected, Why: "as the table says"}
	case Closed:
		r.Outcome, r.Request = entrustbus.OutcomeFailed, nil
	}
	return Stored{Record: r, Revision: 7, At: begin}
}

func (b table) decide(after time.Duration, cur Stored, ev Event) string {
	d := b.machine(0).Decide(begin.Add(after), 0.5, b.key, cur, ev)
	return sketch(&d)
}

func (b table) delivered() Event {
	return Delivered{Request: *b.q, Remains: Remains{CanLookUp: true}}
}

func (b table) woken(p Phase) Event {
	w := Wakeup{Key: b.key, Kind: b.q.Kind, Lane: laneOf(b.stored(p).Record), Due: begin, Request: b.q.Raw}
	return Woken{Wakeup: w, Remains: Remains{CanLookUp: true}, Request: b.request}
}

func (b table) request() *Request { return b.q }

var kinds = []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindTrack, entrustbus.KindCancel}

// TestDelivered: the decision about a request, by the record in the ledger and by kind.
func TestDelivered(t *testing.T) {
	t.Parallel()
	none := "-"
	rows := []struct {
		phase Phase
		after time.Duration
		want  [4]string // issue, revoke, track, cancel; - without such a record
	}{
		{"", 0, [4]string{
			"record submitting, call enroll",
			"record submitting, call revoke",
			"record awaiting, wake-up poll 5m0s, ack",
			"record indeterminate, call target",
		}},
		{Submitting, time.Minute, [4]string{"wake-up resubmit 2m0s, ack", "record submitting, call revoke", none, none}},
		{Submitting, 2 * time.Minute, [4]string{
			"record indeterminate, wake-up resubmit 3m0s, ack",
			"record submitting, call revoke", none, none,
		}},
		{Submitting, time.Hour, [4]string{"record indeterminate, call lookup", "record submitting, call revoke", none, none}},
		{Unaccepted, time.Minute, [4]string{"record submitting, call enroll", "record submitting, call revoke", none, none}},
		{Indeterminate, time.Minute, [4]string{"wake-up resubmit 3m0s, ack", "record submitting, call revoke", none, "call target"}},
		{Indeterminate, time.Hour, [4]string{"call lookup", "record submitting, call revoke", none, "call target"}},
		{Awaiting, time.Minute, [4]string{"wake-up poll 8m0s, ack", none, "wake-up poll 8m0s, ack", none}},
		{Awaiting, time.Hour, [4]string{"wake-up poll 8m0s, ack", none, "wake-up poll 8m0s, ack", none}},
		{Concluded, time.Minute, [4]string{
			"letter rejected, result failed, close, no wake-up, ack",
			"letter rejected, result failed, close, no wake-up, ack",
			"letter rejected, result failed, close, no wake-up, ack",
			"letter rejected, result failed, close, no wake-up, ack",
		}},
		{Closed, time.Minute, [4]string{"ack", "ack", "ack", "ack"}},
	}
	for _, row := range rows {
		for i, kind := range kinds {
			if row.want[i] == none {
				continue
			}
			b := tableOf(kind)
			cur := b.stored(row.phase)
			if row.phase == "" {
				cur = Stored{}
			}
			if got := b.decide(row.after, cur, b.delivered()); got != row.want[i] {
				t.Errorf("%s request meets %q after %s:\n got %s\nwant %s", kind, row.phase, row.after, got, row.want[i])
			}
		}
	}
}

// TestWoken: the decision about a due message, by the record in the ledger and by kind.
func TestWoken(t *testing.T) {
	t.Parallel()
	rows := []struct {
		phase Phase
		after time.Duration
		want  [4]string
	}{
		{Submitting, time.Minute, [4]string{"wake-up resubmit 2m0s, ack", "record submitting, call revoke", "-", "-"}},
		{Submitting, time.Hour, [4]string{"record indeterminate, call lookup", "record submitting, call revoke", "-", "-"}},
		{Unaccepted, time.Minute, [4]string{"record submitting, call enroll", "record submitting, call revoke", "-", "-"}},
		{Indeterminate, time.Hour, [4]string{"call lookup", "record submitting, call revoke", "-", "call target"}},
		{Awaiting, time.Minute, [4]string{"call poll", "-", "call poll", "-"}},
		{Concluded, time.Minute, [4]string{
			"letter rejected, result failed, close, no wake-up, ack",
			"letter rejected, result failed, close, no wake-up, ack",
			"letter rejected, result failed, close, no wake-up, ack",
			"letter rejected, result failed, close, no wake-up, ack",
		}},
		{Closed, time.Minute, [4]string{"ack", "ack", "ack", "ack"}},
	}
	for _, row := range rows {
		for i, kind := range kinds {
			if row.want[i] == "-" {
				continue
			}
			b := tableOf(kind)
			if got := b.decide(row.after, b.stored(row.phase), b.woken(row.phase)); got != row.want[i] {
				t.Errorf("%s wakes as %q after %s:\n got %s\nwant %s", kind, row.phase, row.after, got, row.want[i])
			}
		}
	}
}

// TestEnrolled: the decision about the answer to a submission. The record is still the one
// before the call, or another worker's.
func TestEnrolled(t *testing.T) {
	t.Parallel()
	tracked := func(a Answer) Answer { a.TrackingID = "T"; return a }
	rows := []struct {
		name         string
		answer       Answer
		ours, theirs string // theirs: another worker took the order over and looks it up
	}{
		{"issued", tracked(Answer{Word: Issued, Certificate: leaf}), "result issued, close, ack, keeps concluded", "result issued, close, no wake-up, ack, keeps concluded"},
		{"pending", tracked(Answer{Word: Pending}), "record awaiting, wake-up poll 6m0s, ack", "record awaiting, wake-up poll 6m0s, ack"},
		{"declined", tracked(Answer{Word: Declined, Error: fault}), "record concluded, letter rejected, result rejected, close, ack", "record concluded, letter rejected, result rejected, close, no wake-up, ack"},
		{"wrong", Answer{Word: Wrong, Serial: "bad", Error: fault}, "record concluded, letter wrong-certificate, result failed, close, ack", "record concluded, letter wrong-certificate, result failed, close, no wake-up, ack"},
		{"refused", Answer{Word: Refused, Error: fault}, "record concluded, letter rejected, result failed, close, ack", "record concluded, letter rejected, result failed, close, no wake-up, ack"},
		{"not accepted", Answer{Word: NotAccepted, Error: fault}, "record unaccepted, wake-up resubmit 6m0s, ack", "wake-up resubmit 3m0s, ack"},
		{"no answer", Answer{Word: NoAnswer, Error: fault}, "record indeterminate, wake-up resubmit 3m0s, ack", "wake-up resubmit 3m0s, ack"},
		{"malformed", Answer{Word: Malformed, Error: fault}, "record indeterminate, wake-up resubmit 3m0s, ack", "wake-up resubmit 3m0s, ack"},
		{"malformed with id", tracked(Answer{Word: Malformed, Error: fault}), "record awaiting, wake-up poll 6m0s, ack", "record awaiting, wake-up poll 6m0s, ack"},
	}
	b := tableOf(entrustbus.KindIssue)
	for _, row := range rows {
		call := Call{Op: OpEnroll, Owner: "b", Submission: 1}
		ev := Answered{Call: call, Answer: row.answer, Remains: Remains{CanLookUp: true}, Request: b.request}
		if got := b.decide(time.Minute, b.stored(Submitting), ev); got != row.ours {
			t.Errorf("%s:\n got %s\nwant %s", row.name, got, row.ours)
		}
		if got := b.decide(time.Minute, b.stored(Indeterminate), ev); got != row.theirs {
			t.Errorf("%s, taken over:\n got %s\nwant %s", row.name, got, row.theirs)
		}
	}
}

// TestPolled: the decision about the answer to a poll, before the order's deadline and at it.
func TestPolled(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name         string
		answer       Answer
		before, last string
	}{
		{"issued", Answer{Word: Issued, Certificate: leaf}, "result issued, close, no wake-up, ack, keeps concluded", "result issued, close, no wake-up, ack, keeps concluded"},
		{"pending", Answer{Word: Pending}, "wake-up poll 8m0s, ack", "record concluded, letter expired, result expired, close, no wake-up, ack"},
		{"declined", Answer{Word: Declined, Error: fault}, "record concluded, letter rejected, result rejected, close, no wake-up, ack", "record concluded, letter rejected, result rejected, close, no wake-up, ack"},
		{"not accepted", Answer{Word: NotAccepted, Error: fault}, "wake-up poll 6m0s, ack", "wake-up poll 13m0s, ack"},
		{"no answer", Answer{Word: NoAnswer, Error: fault}, "wake-up poll 8m0s, ack", "record awaiting, wake-up poll 13m0s, ack"},
		{"refused", Answer{Word: Refused, Error: fault}, "record awaiting, wake-up poll 8m0s, ack", "record concluded, letter expired, result expired, close, no wake-up, ack"},
		{"not found", Answer{Word: NotFound, Error: fault}, "record awaiting, wake-up poll 8m0s, ack", "record concluded, letter expired, result expired, close, no wake-up, ack"},
	}
	b := tableOf(entrustbus.KindIssue)
	for _, row := range rows {
		ev := Answered{Call: Call{Op: OpPoll}, Answer: row.answer, Request: b.request}
		if got := b.decide(time.Minute, b.stored(Awaiting), ev); got != row.before {
			t.Errorf("%s:\n got %s\nwant %s", row.name, got, row.before)
		}
		if got := b.decide(b.MaxWait, b.stored(Awaiting), ev); got != row.last {
			t.Errorf("%s at the deadline:\n got %s\nwant %s", row.name, got, row.last)
		}
	}
}

// TestNoesEndAnOrder: refused polls end an accepted order only after several, over a while, and
// while polls of other orders get good answers.
func TestNoesEndAnOrder(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	cur := b.stored(Awaiting)
	cur.Deadline = begin.Add(time.Hour)
	for i, row := range []struct {
		after  time.Duration
		others bool
		want   string
	}{
		{5 * time.Minute, true, "record awaiting, wake-up poll 10m0s, ack"},
		{6 * time.Minute, true, "record awaiting, wake-up poll 11m0s, ack"},
		{7 * time.Minute, true, "record awaiting, wake-up poll 12m0s, ack"},
		{20 * time.Minute, false, "record awaiting, wake-up poll 25m0s, ack"},
		{21 * time.Minute, true, "record concluded, letter unconfirmed, result unconfirmed, close, no wake-up, ack"},
	} {
		ev := Answered{Call: Call{Op: OpPoll}, Answer: Answer{Word: NotFound, Error: fault, OthersAnswered: row.others}, Request: b.request}
		d := b.machine(0).Decide(begin.Add(row.after), 0.5, b.key, cur, ev)
		if got := sketch(&d); got != row.want {
			t.Errorf("no %d:\n got %s\nwant %s", i+1, got, row.want)
		}
		cur.Record = *d.Record
	}
}

// TestUnansweredAtTheDeadline: an order expires only after five unanswered polls at the
// deadline.
func TestUnansweredAtTheDeadline(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	cur := b.stored(Awaiting)
	for i := range lastPolls {
		ev := Answered{Call: Call{Op: OpPoll, Polls: i, Last: true}, Answer: Answer{Word: NoAnswer, Error: fault}, Request: b.request}
		d := b.machine(0).Decide(begin.Add(b.MaxWait), 0.5, b.key, cur, ev)
		if expired := d.Result != nil && d.Result.Result.Outcome == entrustbus.OutcomeExpired; expired != (i == lastPolls-1) {
			t.Fatalf("poll %s: %s", strconv.Itoa(i+1), sketch(&d))
		}
		cur.Record = *d.Record
	}
}

// TestRequestAgainWhileItWaits: a repeated request leaves the wake-up of its order alone. An
// order without a wake-up, or with one of an earlier generation, gets one.
func TestRequestAgainWhileItWaits(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	for phase, without := range map[Phase]string{
		Unaccepted:    "record submitting, call enroll",
		Indeterminate: "wake-up resubmit 3m0s, ack",
		Awaiting:      "wake-up poll 5m0s, ack",
	} {
		cur := b.stored(phase)
		for _, row := range []struct {
			w    *Wakeup
			want string
		}{{nil, without}, {&Wakeup{Generation: 1}, "ack"}, {&Wakeup{Generation: 0}, without}} {
			cur.Generation = 1
			q := *b.q
			q.Generation = 1
			if got := b.decide(0, cur, Delivered{Request: q, Remains: Remains{CanLookUp: true, Wakeup: row.w}}); got != row.want {
				t.Errorf("%s, wake-up %+v: %s, want %s", phase, row.w, got, row.want)
			}
		}
	}
}
