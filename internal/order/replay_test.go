package order

import (
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// TestReplayOf is the replay policy.
func TestReplayOf(t *testing.T) {
	t.Parallel()
	closed := func(kind entrustbus.Kind, outcome entrustbus.Outcome, tracking, serial string) Record {
		return Record{Phase: Closed, Kind: kind, Outcome: outcome, TrackingID: tracking, Serial: serial}
	}
	issue, revoke, track, cancel := entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindTrack, entrustbus.KindCancel
	rows := []struct {
		name    string
		record  Record
		replay  Replay
		refusal Refusal
	}{
		{"issued", closed(issue, entrustbus.OutcomeIssued, "T", "a1"), "", RefusedIssued},
		{"rejected by an approver", closed(issue, entrustbus.OutcomeRejected, "T", ""), ReplaySubmit, ""},
		{"refused by the gateway", closed(issue, entrustbus.OutcomeFailed, "", ""), ReplaySubmit, ""},
		{"failed after the gateway had accepted it", closed(issue, entrustbus.OutcomeFailed, "T", ""), ReplayResubmit, ""},
		{"a wrong certificate", closed(issue, entrustbus.OutcomeFailed, "", "bad"), ReplayResubmit, ""},
		{"expired", closed(issue, entrustbus.OutcomeExpired, "T", ""), ReplayResume, ""},
		{"unconfirmed, with a tracking id", closed(issue, entrustbus.OutcomeUnconfirmed, "T", ""), ReplayResume, ""},
		{"unconfirmed", closed(issue, entrustbus.OutcomeUnconfirmed, "", ""), ReplayResubmit, ""},
		{"cancelled while it awaited approval", closed(issue, entrustbus.OutcomeCancelled, "T", ""), ReplayResume, ""},
		{"cancelled before it was accepted", closed(issue, entrustbus.OutcomeCancelled, "", ""), ReplaySubmit, ""},
		{"tracked to its certificate", closed(track, entrustbus.OutcomeIssued, "T", "a1"), "", RefusedIssued},
		{"tracked in vain", closed(track, entrustbus.OutcomeExpired, "T", ""), ReplayResume, ""},
		{"revoked", closed(revoke, entrustbus.OutcomeRevoked, "", ""), "", RefusedRevoked},
		{"an indeterminate revocation", closed(revoke, entrustbus.OutcomeUnconfirmed, "", ""), ReplaySubmit, ""},
		{"a cancellation that came too late", closed(cancel, entrustbus.OutcomeFailed, "", ""), ReplaySubmit, ""},
		{"no record", Record{}, "", RefusedAlive},
	}
	for _, p := range Phases() {
		if p != Closed {
			rows = append(rows, struct {
				name    string
				record  Record
				replay  Replay
				refusal Refusal
			}{string(p), Record{Phase: p, Kind: issue}, "", RefusedAlive})
		}
	}
	for _, row := range rows {
		if replay, refusal := ReplayOf(row.record); replay != row.replay || refusal != row.refusal {
			t.Errorf("%s: %q, %q, want %q, %q", row.name, replay, refusal, row.replay, row.refusal)
		}
	}
}

// TestReplayed: the decision about a replay, by the record in the ledger.
func TestReplayed(t *testing.T) {
	t.Parallel()
	b := tableOf(entrustbus.KindIssue)
	closed := func(outcome entrustbus.Outcome, tracking string) Stored {
		cur := b.stored(Closed)
		cur.Outcome, cur.TrackingID = outcome, tracking
		return cur
	}
	again := closed(entrustbus.OutcomeFailed, "")
	again.Generation = 1
	for _, row := range []struct {
		name string
		cur  Stored
		want string
	}{
		{"a refused order", closed(entrustbus.OutcomeFailed, ""), "record submitting, call enroll"},
		{"an expired order", closed(entrustbus.OutcomeExpired, "T"), "record awaiting, wake-up poll 6m0s, ack"},
		{"an issued order", closed(entrustbus.OutcomeIssued, "T"), "ack"},
		{"an order that waits", b.stored(Awaiting), "ack"},
		{"an order that is about to close", b.stored(Concluded), "return"},
		{"an order that was replayed before", again, "ack"},
	} {
		ev := Delivered{Request: *b.requests[1], Remains: Remains{CanLookUp: true}}
		if got := b.decide(1e9*60, row.cur, ev); got != row.want {
			t.Errorf("replaying %s:\n got %s\nwant %s", row.name, got, row.want)
		}
	}
}
