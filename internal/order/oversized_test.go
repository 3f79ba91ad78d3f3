package order

import (
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// large is the end of an issued order with every field.
func large() *Conclusion {
	return &Conclusion{
		Encoding: entrustbus.EncodingJSON, TraceParent: "00-1-2-3",
		Result: &entrustbus.Result{
			ID: "a", Producer: "shop", Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeIssued, CertificatePEM: "leaf", ChainPEM: "chain",
			Serial: "0bad", SerialDecimal: "2989", TrackingID: strings.Repeat("T", 2<<10), Labels: map[string]string{"k": "v"}, Warnings: []string{"first", "second"},
		},
	}
}

// A conclusion becomes smaller step by step, says what it left out, and never changes its
// original. At its smallest it fits into any message that the worker runs with.
func TestSmallerConclusion(t *testing.T) {
	t.Parallel()
	var got []string
	c := large()
	for ok := true; ok; {
		before := *c.Result
		var next *Conclusion
		if next, ok = c.Smaller(); ok {
			if len(before.Warnings) != len(c.Result.Warnings) || before.Outcome != c.Result.Outcome || before.ChainPEM != c.Result.ChainPEM {
				t.Fatal("the conclusion itself was changed")
			}
			c = next
			r := c.Result
			got = append(got, strings.Join([]string{string(r.Outcome), r.CertificatePEM, r.ChainPEM, r.Labels["k"], string(c.Reason), strings.Join(r.Warnings, "; ")}, "|"))
		}
		if len(got) > 9 {
			t.Fatal("it becomes smaller without end")
		}
	}
	const chain, labels = "chain_pem was left out: with it, the result does not fit into a message of the bus", "labels were left out: with them, the result does not fit into a message of the bus"
	want := []string{
		"issued|leaf||v||first; second; " + chain,
		"issued|leaf||||first; second; " + chain + "; " + labels,
		"failed||||rejected|first; second; " + chain + "; " + labels,
		"failed||||rejected|further warnings were left out: with them, the result does not fit into a message of the bus",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the steps are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if e := c.Result.Error; e == nil || e.Class != entrustbus.ClassOther || e.Code != CodeResultTooLarge || !strings.Contains(e.Message, "0bad") || c.Why != e.Message {
		t.Errorf("the error is %+v, the letter says %q", e, c.Why)
	}
	if c.Result.Serial != "0bad" || c.Result.SerialDecimal != "2989" || c.Result.TrackingID != "" {
		t.Errorf("serial %s (%s), tracking id of %d bytes", c.Result.Serial, c.Result.SerialDecimal, len(c.Result.TrackingID))
	}
	// Of a replay: the gateway may hold the certificate.
	if step, _ := ReplayOf(Record{Kind: entrustbus.KindIssue}.Closed(c.Result)); step != ReplayResubmit {
		t.Errorf("a replay would %s", step)
	}
}

// An end with an error keeps its outcome, however long the error is.
func TestSmallerFailure(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("ü", 60<<10)
	c := &Conclusion{Reason: Unconfirmed, Why: text, Result: &entrustbus.Result{
		Outcome: entrustbus.OutcomeUnconfirmed, TrackingID: "T-1", Error: &entrustbus.ResultError{Class: entrustbus.ClassNetwork, Code: CodeLostReply, Message: text},
	}}
	small, ok := c.Smaller()
	if !ok || small.Result.Outcome != entrustbus.OutcomeUnconfirmed || small.Reason != Unconfirmed || small.Result.TrackingID != "T-1" ||
		small.Result.Error.Code != CodeLostReply || small.Result.Error.Message != strings.Repeat("ü", 512) || small.Why != small.Result.Error.Message {
		t.Errorf("it became %+v (error %+v)", small, small.Result.Error)
	}
	if c.Result.Error.Message != text {
		t.Error("the conclusion itself was changed")
	}
	if again, ok := small.Smaller(); ok {
		t.Errorf("it becomes smaller again: %+v", again)
	}
}

// TestOversized: the end of an order whose record or result the server refuses.
func TestOversized(t *testing.T) {
	t.Parallel()
	issue, cancel := tableOf(entrustbus.KindIssue), tableOf(entrustbus.KindCancel)
	revoke := tableOf(entrustbus.KindRevoke)
	cert := &Certificate{PEM: "leaf", Serial: "1"}
	submitting := issue.stored(Submitting)
	submitting.Owner = issue.machine(0).Worker
	answered := func(a Answer) Event {
		return Answered{Call: Call{Op: OpEnroll, Owner: submitting.Owner, Submission: 1}, Answer: a, Request: issue.request}
	}
	duplicate := issue.stored(Unaccepted)
	duplicate.PossibleDuplicate = true
	for name, row := range map[string]struct {
		table
		cur  Stored
		ev   Event
		step Step
		want string
	}{
		"issued, not written":       {issue, submitting, answered(Answer{Word: Issued, Certificate: cert}), StepResult, "record concluded, letter rejected, result failed, close, ack"},
		"refused, written":          {issue, submitting, answered(Answer{Word: Refused, Error: fault}), StepRecord, "record concluded, letter rejected, result failed, close, ack"},
		"pending":                   {issue, submitting, answered(Answer{Word: Pending, TrackingID: "T"}), StepRecord, "record concluded, letter unconfirmed, result unconfirmed, close, no wake-up, ack"},
		"not accepted":              {issue, submitting, answered(Answer{Word: NotAccepted, Error: fault}), StepRecord, "record concluded, letter rejected, result failed, close, no wake-up, ack"},
		"no answer":                 {issue, submitting, answered(Answer{Word: NoAnswer, Error: fault}), StepRecord, "record concluded, letter unconfirmed, result unconfirmed, close, no wake-up, ack"},
		"submitted again":           {issue, issue.stored(Unaccepted), issue.woken(Unaccepted), StepRecord, "record concluded, letter rejected, result failed, close, no wake-up, ack"},
		"a duplicate, again":        {issue, duplicate, issue.woken(Unaccepted), StepRecord, "record concluded, letter unconfirmed, result unconfirmed, close, no wake-up, ack"},
		"a first submission":        {issue, Stored{}, issue.delivered(), StepRecord, "record concluded, letter rejected, result failed, close, ack"},
		"a first cancellation":      {cancel, Stored{}, cancel.delivered(), StepRecord, "record concluded, letter rejected, result failed, close, no wake-up, ack"},
		"a revocation, again":       {revoke, revoke.stored(Indeterminate), revoke.woken(Indeterminate), StepRecord, "record concluded, letter unconfirmed, result unconfirmed, close, no wake-up, ack"},
		"cancelled":                 {issue, issue.stored(Awaiting), Cancelled{Request: issue.request}, StepRecord, "record concluded, result cancelled, close, no wake-up"},
		"the smallest, not written": {issue, issue.stored(Concluded), issue.delivered(), StepResult, "return"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := row.machine(0)
			d := m.Decide(begin.Add(time.Minute), 0.5, row.key, row.cur, row.ev)
			if !d.Has(row.step) {
				t.Fatalf("the decision is %s", sketch(&d))
			}
			if name == "the smallest, not written" {
				d.Result.Result.Warnings = nil
			}
			cur := row.cur
			if row.step == StepResult && d.Record != nil {
				cur = Stored{Record: *d.Record, Revision: 8}
			}
			out := m.Decide(begin.Add(time.Minute), 0.5, row.key, cur, Oversized{Decision: d, Step: row.step, Request: row.request})
			if got := sketch(&out); got != row.want {
				t.Fatalf("%s\nbecame %s\nwant   %s", sketch(&d), got, row.want)
			}
			if out.Record == nil {
				return
			}
			// A worker that dies now leaves a record from which its message continues in the
			// same way.
			if row.ev, row.cur = row.delivered(), (Stored{Record: *out.Record, Revision: 9, At: begin}); out.Result != nil && name != "cancelled" {
				again := m.Decide(begin.Add(time.Minute), 0.5, row.key, row.cur, row.ev)
				if again.Result == nil || again.Result.Result.Outcome != out.Result.Result.Outcome || (again.Letter == nil) != (out.Letter == nil) ||
					again.Letter != nil && (again.Letter.ID != out.Letter.ID || len(again.Letter.Request.Body) == 0) {
					t.Errorf("after a death: %s", sketch(&again))
				}
			}
			if row.step == StepRecord && out.Record.Request != nil {
				t.Error("the record holds the request, which may be what is too large")
			}
		})
	}
}

// A call that was not made counts as no submission.
func TestOversizedCountsNoSubmission(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	m := b.machine(0)
	for name, row := range map[string]struct {
		cur  Stored
		ev   Event
		want int
	}{"the first": {Stored{}, b.delivered(), 0}, "another": {b.stored(Unaccepted), b.woken(Unaccepted), 1}} {
		d := m.Decide(begin.Add(time.Minute), 0.5, b.key, row.cur, row.ev)
		out := m.Decide(begin.Add(time.Minute), 0.5, b.key, row.cur, Oversized{Decision: d, Step: StepRecord, Request: b.request})
		if r := out.Result.Result; r.Submissions != row.want || r.Error.Code != CodeRequestTooLarge {
			t.Errorf("%s: %d submissions, want %d (error %+v)", name, r.Submissions, row.want, r.Error)
		}
	}
}
