package timeline

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// now is the present time of these tests.
func now() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }

func TestWaits(t *testing.T) {
	t.Parallel()
	minutes := func(n int) time.Time { return now().Add(time.Duration(n) * time.Minute) }
	awaiting := order.Record{Phase: order.Awaiting, Kind: entrustbus.KindIssue, Deadline: minutes(60), CAID: "a"}
	refused := order.Record{Phase: order.Unaccepted, Kind: entrustbus.KindIssue, CAID: "a", Tries: 2,
		Cause: &entrustbus.ResultError{Class: entrustbus.ClassUpstream5xx, Message: "busy", HTTPStatus: 503}}
	breaker := Obstacle{Kind: Breaker, Operation: "enroll", CA: "a", Since: minutes(-5), Next: minutes(1), Why: "HTTP 502"}
	for name, tc := range map[string]struct {
		rec  order.Record
		next time.Time
		all  []Obstacle
		want string
	}{
		"awaiting": {awaiting, minutes(3), nil,
			"awaiting approval at the gateway; next poll at 2026-11-29T12:03:00Z, deadline 2026-11-29T13:00:00Z"},
		"a due wake-up": {awaiting, time.Time{}, nil,
			"awaiting approval at the gateway; next poll now: its wake-up is due, deadline 2026-11-29T13:00:00Z"},
		"a breaker of another operation": {awaiting, minutes(3), []Obstacle{breaker},
			"awaiting approval at the gateway; next poll at 2026-11-29T12:03:00Z, deadline 2026-11-29T13:00:00Z"},
		"its breaker": {refused, minutes(3), []Obstacle{breaker},
			"the breaker is open for enroll at CA a since 2026-11-29T11:55:00Z (HTTP 502), next canary at 2026-11-29T12:01:00Z; the gateway did not accept the order (busy); next try at 2026-11-29T12:03:00Z"},
		"a breaker of another CA": {refused, minutes(3), []Obstacle{{Kind: Breaker, Operation: "enroll", CA: "b"}},
			"the gateway did not accept the order (busy); next try at 2026-11-29T12:03:00Z"},
		"a suspension before a pause": {refused, minutes(3),
			[]Obstacle{{Kind: Pause, Next: minutes(2)}, {Kind: Suspension, Producer: "web", By: "eve", Since: minutes(-1), Why: "audit"}},
			"suspended by eve, producer web since 2026-11-29T11:59:00Z (audit); the gateway did not accept the order (busy); next try at 2026-11-29T12:03:00Z"},
		"a suspension of another producer": {refused, minutes(3), []Obstacle{{Kind: Suspension, Producer: "mail"}},
			"the gateway did not accept the order (busy); next try at 2026-11-29T12:03:00Z"},
		"a pause": {awaiting, minutes(3), []Obstacle{{Kind: Pause, Next: minutes(2)}},
			"the gateway asked the fleet to pause until 2026-11-29T12:02:00Z; awaiting approval at the gateway; next poll at 2026-11-29T12:03:00Z, deadline 2026-11-29T13:00:00Z"},
		"a fleet without workers": {awaiting, minutes(3), ofState(control.State{Workers: []control.Presence{{Worker: "w1", Silent: true}}}),
			"no worker is running; awaiting approval at the gateway; next poll at 2026-11-29T12:03:00Z, deadline 2026-11-29T13:00:00Z"},
		"a gateway out of reach": {awaiting, minutes(3), ofState(control.State{Workers: []control.Presence{
			{Worker: "w1", About: control.About{GatewayProblem: "the key pair cannot be read"}}, {Worker: "w2", Silent: true}}}),
			"no worker can call the gateway (the key pair cannot be read); awaiting approval at the gateway; next poll at 2026-11-29T12:03:00Z, deadline 2026-11-29T13:00:00Z"},
		"a gateway out of one worker's reach": {awaiting, minutes(3), ofState(control.State{Workers: []control.Presence{
			{Worker: "w1", About: control.About{GatewayProblem: "the key pair cannot be read"}}, {Worker: "w2"}}}),
			"awaiting approval at the gateway; next poll at 2026-11-29T12:03:00Z, deadline 2026-11-29T13:00:00Z"},
		"quota": {order.Record{Phase: order.Unaccepted, Kind: entrustbus.KindIssue, Cause: &entrustbus.ResultError{Code: order.CodeQuota}}, minutes(1), nil,
			"the submission is deferred: the producer's requests a minute are used up; next try at 2026-11-29T12:01:00Z"},
		"a lease": {order.Record{Phase: order.Submitting, Kind: entrustbus.KindIssue, Owner: "w1", Lease: time.Minute}, time.Time{}, nil,
			"worker w1 may be calling the gateway, under a lease until 2026-11-29T12:01:00Z"},
		"a cancellation": {order.Record{Phase: order.Indeterminate, Kind: entrustbus.KindCancel}, minutes(1), []Obstacle{breaker, {Kind: Pause}},
			"waits for the order that it cancels; next look at 2026-11-29T12:01:00Z"},
		"an end": {order.Record{Phase: order.Closed, Kind: entrustbus.KindIssue}, time.Time{}, []Obstacle{breaker}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := New(Config{Now: now, Obstacles: obstacles(tc.all)})
			story := r.telling(order.Key{Producer: "web", ID: "1"}, order.Stored{Record: tc.rec, At: now()})
			story.story.NextWakeup = tc.next
			story.waits(t.Context())
			if got := story.story.Waits; got != tc.want {
				t.Errorf("waits\n  %q, want\n  %q", got, tc.want)
			}
		})
	}
}

func TestTroubleOf(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return now().Add(-d) }
	for name, tc := range map[string]struct {
		rec  order.Stored
		want bool
	}{
		"one refusal":            {order.Stored{Record: order.Record{Phase: order.Unaccepted, Tries: 1}}, false},
		"two refusals":           {order.Stored{Record: order.Record{Phase: order.Unaccepted, Tries: 2}}, true},
		"a lost answer":          {order.Stored{Record: order.Record{Phase: order.Indeterminate}}, true},
		"a waiting cancellation": {order.Stored{Record: order.Record{Phase: order.Indeterminate, Kind: entrustbus.KindCancel}}, false},
		"a wait":                 {order.Stored{Record: order.Record{Phase: order.Awaiting, Deadline: now()}}, false},
		"a late wait":            {order.Stored{Record: order.Record{Phase: order.Awaiting, Deadline: ago(time.Hour)}}, true},
		"a refused poll":         {order.Stored{Record: order.Record{Phase: order.Awaiting, Deadline: now(), Noes: 1}}, false},
		"refused polls":          {order.Stored{Record: order.Record{Phase: order.Awaiting, Deadline: now(), Noes: 2}}, true},
		"a lease":                {order.Stored{Record: order.Record{Phase: order.Submitting, Lease: time.Hour}, At: ago(time.Hour)}, false},
		"a lease without an end": {order.Stored{Record: order.Record{Phase: order.Submitting, Lease: time.Minute}, At: ago(time.Hour)}, true},
		"a result on its way":    {order.Stored{Record: order.Record{Phase: order.Concluded}, At: ago(time.Second)}, false},
		"a result that is late":  {order.Stored{Record: order.Record{Phase: order.Concluded}, At: ago(time.Hour)}, true},
		"issued":                 {order.Stored{Record: order.Record{Phase: order.Closed, Outcome: entrustbus.OutcomeIssued}}, false},
		"an approver's no":       {order.Stored{Record: order.Record{Phase: order.Closed, Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeRejected}}, false},
		"failed":                 {order.Stored{Record: order.Record{Phase: order.Closed, Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeFailed}}, true},
		"a late cancellation":    {order.Stored{Record: order.Record{Phase: order.Closed, Kind: entrustbus.KindCancel, Outcome: entrustbus.OutcomeFailed}}, false},
		"unconfirmed":            {order.Stored{Record: order.Record{Phase: order.Closed, Outcome: entrustbus.OutcomeUnconfirmed}}, true},
	} {
		if got := TroubleOf(tc.rec, now()); (got != "") != tc.want {
			t.Errorf("%s: trouble is %q, want some: %t", name, got, tc.want)
		}
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	at := func(minutes ...int) (all []time.Time) {
		for _, m := range minutes {
			all = append(all, now().Add(time.Duration(m)*time.Minute))
		}
		return all
	}
	got := spans(at(100, 0, 15), 10*time.Minute)
	if want := at(-10, 25, 90, 110); len(got) != 2 || got[0] != [2]time.Time{want[0], want[1]} || got[1] != [2]time.Time{want[2], want[3]} {
		t.Errorf("spans are %v", got)
	}
}
