package order

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func judges(v Verdict) func(Record) Verdict { return func(Record) Verdict { return v } }

// denying adds a policy that refuses to an event.
func denying(ev Event) Event {
	no := judges(Verdict{Denied: refusal, Digest: []byte("digest")})
	switch e := ev.(type) {
	case Delivered:
		e.Remains.Judge = no
		return e
	case Woken:
		e.Remains.Judge = no
		return e
	case Answered:
		e.Remains.Judge = no
		return e
	}
	return ev
}

func TestDenied(t *testing.T) {
	t.Parallel()
	const denied = "record concluded, letter denied, result rejected, close, ack"
	const ended = "record concluded, letter denied, result rejected, close, no wake-up, ack"
	for _, kind := range kinds {
		b := tableOf(kind)
		if got := b.decide(0, Stored{}, denying(b.delivered())); got != denied {
			t.Errorf("a new %s: %s, want %s", kind, got, denied)
		}
	}
	for _, row := range []struct {
		name   string
		kind   entrustbus.Kind
		phase  Phase
		after  time.Duration
		change func(*Record)
		want   string
	}{
		{"not accepted", entrustbus.KindIssue, Unaccepted, 0, nil, ended},
		{"not accepted", entrustbus.KindRevoke, Unaccepted, 0, nil, ended},
		{"not accepted, an earlier one perhaps", entrustbus.KindIssue, Unaccepted, 0, func(r *Record) { r.PossibleDuplicate = true }, "record concluded, letter unconfirmed, result unconfirmed, close, no wake-up, ack"},
		{"indeterminate", entrustbus.KindIssue, Indeterminate, time.Hour, nil, "call lookup"},
		{"indeterminate", entrustbus.KindRevoke, Indeterminate, 0, nil, "record submitting, call revoke"},
		{"waiting for approval", entrustbus.KindIssue, Awaiting, 0, nil, "call poll"},
		{"waiting for approval", entrustbus.KindTrack, Awaiting, 0, nil, "call poll"},
		{"waiting for its target", entrustbus.KindCancel, Indeterminate, 0, nil, "call target"},
	} {
		b := tableOf(row.kind)
		cur := b.stored(row.phase)
		if row.change != nil {
			row.change(&cur.Record)
		}
		if got := b.decide(row.after, cur, denying(b.woken(row.phase))); got != row.want {
			t.Errorf("a %s that is %s: %s, want %s", row.kind, row.name, got, row.want)
		}
	}
}

// After a look-up that found nothing, a refusal ends the order as denied when nothing was
// created, and as unconfirmed when that is unknown.
func TestDeniedAfterALookUp(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*scene){
		"record concluded, letter denied, result rejected, close, no wake-up, ack":         neverWaits,
		"record concluded, letter unconfirmed, result unconfirmed, close, no wake-up, ack": resubmits,
	} {
		s := newScene("table", entrustbus.KindIssue, change)
		b := table{s, keys[watched], s.requests[0]}
		ev := Answered{Call: Call{Op: OpLookUp, Submission: 1}, Answer: Answer{Word: NoMatch}, Remains: Remains{CanLookUp: true}, Request: b.request}
		if got := b.decide(time.Hour, b.stored(Indeterminate), denying(ev)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestVerdictIsInRecordAndResult(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	q := *b.q
	q.Body = &entrustbus.Issue{ID: "order", CSRPEM: "csr", ValiditySeconds: 7200}
	v := Verdict{Digest: []byte("digest"), Validity: time.Hour}
	d := b.machine(0).Decide(begin, 0.5, b.key, Stored{}, Delivered{Request: q, Remains: Remains{Judge: judges(v)}})
	if d.Record == nil || d.Record.Validity != time.Hour || string(d.Record.PolicyDigest) != "digest" || d.Call == nil {
		t.Fatalf("got %+v", d)
	}
	cur := Stored{Record: *d.Record, Revision: 1, At: begin}
	d = b.machine(0).Decide(begin, 0.5, b.key, cur, Answered{Call: *d.Call, Answer: Answer{Word: Issued, Certificate: leaf}, Request: func() *Request { return &q }})
	if d.Result == nil || !slices.ContainsFunc(d.Result.Result.Warnings, func(w string) bool { return strings.Contains(w, "from 7200 to 3600") }) {
		t.Errorf("got %+v", d.Result)
	}
	refused := Delivered{Request: q, Remains: Remains{Judge: judges(Verdict{Denied: refusal, Digest: []byte("digest")})}}
	d = b.machine(0).Decide(begin, 0.5, b.key, Stored{}, refused)
	if e := d.Result.Result.Error; e.Class != entrustbus.ClassPolicy || e.Code != CodeDenied || e.Message != refusal || string(d.Record.PolicyDigest) != "digest" {
		t.Errorf("got %+v of policy %s", e, d.Record.PolicyDigest)
	}
}

// A new order that must wait for its turn is not submitted before, and does not wait twice.
func TestPutOff(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	later := judges(Verdict{After: 90 * time.Second})
	ev := Delivered{Request: *b.q, Remains: Remains{Judge: later}}
	d := b.machine(0).Decide(begin, 0.5, b.key, Stored{}, ev)
	if got := sketch(&d); got != "record unaccepted, wake-up resubmit 1m30s, ack" {
		t.Fatalf("got %s", got)
	}
	if d.Record.Submissions != 0 || d.Record.Waited != 0 || d.Record.Cause.Code != CodeQuota || d.Record.Request == nil {
		t.Errorf("got %+v", d.Record)
	}
	woken := Woken{Wakeup: *d.Wakeup, Remains: Remains{Judge: later}, Request: b.request}
	if got := b.decide(90*time.Second, Stored{Record: *d.Record, Revision: 1, At: begin}, woken); got != "record submitting, call enroll" {
		t.Errorf("at its turn: %s", got)
	}
	suspended := Delivered{Request: *b.q, Remains: Remains{Judge: judges(Verdict{After: time.Minute, Waits: "an operator suspended producer shop"})}}
	d = b.machine(0).Decide(begin, 0.5, b.key, Stored{}, suspended)
	if got := sketch(&d); got != "record unaccepted, wake-up resubmit 1m0s, ack" || d.Record.Cause.Code != CodeSuspended || d.Record.Cause.Message != "an operator suspended producer shop" || d.Record.Waited != 0 {
		t.Errorf("suspended: %s, %+v", got, d.Record)
	}
	full := Delivered{Request: *b.q, Remains: Remains{Judge: judges(Verdict{Denied: refusal, Code: CodeQuota})}}
	d = b.machine(0).Decide(begin, 0.5, b.key, Stored{}, full)
	if e := d.Result.Result.Error; e.Code != CodeQuota || d.Letter.Reason != Denied {
		t.Errorf("got %+v, letter %+v", e, d.Letter)
	}
}
