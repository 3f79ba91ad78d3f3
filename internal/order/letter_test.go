package order

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// endOf decides about an event that ends an order, then about its redelivered message after a
// crash that followed the record.
func endOf(t *testing.T, b table, cur Stored, first, again Event) (end, repeated Decision) {
	t.Helper()
	end = b.machine(0).Decide(begin.Add(time.Minute), 0.5, b.key, cur, first)
	if end.Record == nil || end.Record.Phase != Concluded {
		t.Fatalf("not concluded: %s", sketch(&end))
	}
	data, err := end.Record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	repeated = b.machine(1).Decide(begin.Add(time.Hour), 0.5, b.key, Stored{Record: r, Revision: 8, At: begin}, again)
	return end, repeated
}

// TestLetterAcrossADeath: the reason of a dead letter is kept with the outcome. A worker that
// takes over a concluded order repeats its dead letter and its result unchanged.
func TestLetterAcrossADeath(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	for _, row := range []struct {
		name   string
		cur    Stored
		first  Event
		reason Reason
	}{
		{"refused", b.stored(Submitting), Answered{Call: Call{Op: OpEnroll, Owner: "b", Submission: 1}, Answer: Answer{Word: Refused, Error: fault}, Request: b.request}, Rejected},
		{"wrong", b.stored(Submitting), Answered{Call: Call{Op: OpEnroll, Owner: "b", Submission: 1}, Answer: Answer{Word: Wrong, Serial: "bad", Error: fault}, Request: b.request}, WrongCertificate},
		{"expired", b.stored(Awaiting), Answered{Call: Call{Op: OpPoll, Last: true}, Answer: Answer{Word: Pending}, Request: b.request}, Expired},
		{"crashed", Stored{}, Poisoned{Request: *b.q}, Crashed},
	} {
		end, repeated := endOf(t, b, row.cur, row.first, b.delivered())
		if end.Letter == nil || end.Letter.Reason != row.reason {
			t.Errorf("%s: %s, want a letter %s", row.name, sketch(&end), row.reason)
			continue
		}
		if repeated.Letter == nil || repeated.Letter.ID != end.Letter.ID || repeated.Letter.Reason != row.reason || repeated.Letter.Why != end.Letter.Why {
			t.Errorf("%s: repeated as %+v, want %+v", row.name, repeated.Letter, end.Letter)
		}
		got, want := repeated.Result.Result, end.Result.Result
		if got.Outcome != want.Outcome || *got.Error != *want.Error || !got.FinishedAt.Equal(want.FinishedAt) {
			t.Errorf("%s: the result is repeated as %+v, want %+v", row.name, got, want)
		}
	}
}

// TestTooLateHasNoLetter: a cancellation that came too late makes no dead letter, also when a
// drain interrupted its end and its message is redelivered.
func TestTooLateHasNoLetter(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindCancel)
	target := tableOf(entrustbus.KindIssue).stored(Closed)
	target.Outcome = entrustbus.OutcomeIssued
	end, repeated := endOf(t, b, b.stored(Indeterminate), Targeted{Target: target, Request: b.request}, b.delivered())
	for _, d := range []Decision{end, repeated} {
		if d.Letter != nil || d.Result == nil || d.Result.Result.Error.Code != "too_late" {
			t.Errorf("%s, want a result too_late and no letter", sketch(&d))
		}
	}
}

// TestUndecodableKeepsItsReason: a request that cannot be decoded is one dead letter, however
// often it is delivered.
func TestUndecodableKeepsItsReason(t *testing.T) {
	t.Parallel()
	raw := &Message{
		Subject: "entrust.request.acme.issue", Body: []byte("no request"),
		Header: map[string][]string{entrustbus.HeaderOrderID: {"order"}},
	}
	q := Read(entrustbus.Subjects{}, raw, Limits{})
	q.Ref = Ref{Sequence: 3, Time: begin}
	if q.Problem == nil || q.Key.ID != "order" {
		t.Fatalf("read as %+v", q)
	}
	b := tableOf(entrustbus.KindIssue)
	end, repeated := endOf(t, b, Stored{}, Delivered{Request: q}, Delivered{Request: q})
	if end.Letter == nil || end.Letter.Reason != Undecodable || end.Result == nil {
		t.Fatalf("%s, want a letter undecodable and a result", sketch(&end))
	}
	if repeated.Letter == nil || repeated.Letter.Reason != Undecodable || repeated.Letter.ID != end.Letter.ID {
		t.Errorf("%s, want the letter again", sketch(&repeated))
	}

	// Without an id no result can be addressed: there is only the dead letter.
	raw = &Message{Subject: "entrust.request.acme.issue", Body: []byte("no request")}
	q = Read(entrustbus.Subjects{}, raw, Limits{})
	q.Ref = Ref{Sequence: 4, Time: begin}
	first := b.machine(0).Decide(begin, 0.5, q.Key, Stored{}, Delivered{Request: q})
	second := b.machine(1).Decide(begin.Add(time.Hour), 0.5, q.Key, Stored{}, Delivered{Request: q})
	if got := sketch(&first); got != "letter undecodable, ack surely" {
		t.Errorf("without an id: %s", got)
	}
	if first.Letter.ID != second.Letter.ID {
		t.Errorf("without an id: a letter %q, then %q", first.Letter.ID, second.Letter.ID)
	}
}

// TestDuplicateID: a request whose id another request used becomes a dead letter, and the first
// request's record stays.
func TestDuplicateID(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	other := *b.q
	other.Digest, other.Bytes, other.Ref = []byte("other"), []byte("other bytes"), Ref{Sequence: 9, Time: begin}
	for _, p := range Phases() {
		if got := b.decide(time.Minute, b.stored(p), Delivered{Request: other}); got != "letter invalid, ack surely" {
			t.Errorf("%s: %s", p, got)
		}
	}
	// The message that a record names belongs to it, whatever a newer worker computes.
	cur := b.stored(Closed)
	cur.Origin = other.Ref
	if got := b.decide(time.Minute, cur, Delivered{Request: other}); got != "ack" {
		t.Errorf("its own message: %s", got)
	}
}

// TestByHand: completions and resolutions open the next generation of an order that
// ended without a certificate.
func TestByHand(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	issued := b.stored(Closed)
	issued.Outcome = entrustbus.OutcomeIssued
	taken := b.stored(Concluded)
	taken.Generation, taken.Conclusion.Reason = 1, ""
	next := *b.requests[1]
	for _, row := range []struct {
		name string
		cur  Stored
		ev   ByHand
		want string
	}{
		{"completed", b.stored(Closed), ByHand{Request: next, Certificate: leaf}, "record concluded, result issued, close, ack"},
		{"resolved", b.stored(Closed), ByHand{Request: next}, "record concluded, result failed, close, ack"},
		{"a worker died over it", taken, ByHand{Request: next, Certificate: leaf}, "result failed, close, no wake-up, ack"},
		{"with the wrong certificate", b.stored(Closed), ByHand{Request: next, Problem: "has another key"}, "letter invalid, ack surely"},
		{"issued before", issued, ByHand{Request: next}, "letter invalid, ack surely"},
		{"alive", b.stored(Awaiting), ByHand{Request: next}, "letter invalid, ack surely"},
		{"unknown", Stored{}, ByHand{Request: next}, "letter invalid, ack surely"},
		{"a generation too far", b.stored(Closed), ByHand{Request: *b.requests[2]}, "letter invalid, ack surely"},
		{"done before", b.stored(Closed), ByHand{Request: *b.requests[0]}, "ack"},
	} {
		if got := b.decide(time.Minute, row.cur, row.ev); got != row.want {
			t.Errorf("%s:\n got %s\nwant %s", row.name, got, row.want)
		}
	}
}
