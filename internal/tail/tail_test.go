package tail

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	js := testbed.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		t.Fatal(err)
	}
	l := ledger.New(js, layout.Orders)
	write := func(key order.Key, phases ...order.Record) {
		t.Helper()
		for _, r := range phases {
			r.Kind = entrustbus.KindIssue
			old, err := l.Get(ctx, key)
			if err == nil {
				_, err = l.Write(key, old, r, nil).Try(ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	write(order.Key{Producer: "mail", ID: "1"}, order.Record{Phase: order.Closed, Outcome: entrustbus.OutcomeIssued, Serial: "5f"})
	write(order.Key{Producer: "web", ID: "1"}, order.Record{Phase: order.Unaccepted, Cause: &entrustbus.ResultError{Message: "busy"}})
	if err := deadletter.New(js, layout.Dead, layout.Subjects()).Put(ctx, &deadletter.Letter{Letter: order.Letter{
		Reason: order.Rejected, Key: order.Key{Producer: "web", ID: "2"}, Why: "no", ID: "x",
	}}); err != nil {
		t.Fatal(err)
	}
	follow := func(f Follower, n int) (got []string) {
		for e, err := range f.Events(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, fmt.Sprintf("%s %s: %s", e.About(), e.What, e.Detail)); len(got) == n {
				break
			}
		}
		slices.Sort(got) // from two sources
		return got
	}
	f := Follower{JS: js, Layout: layout, Since: time.Now().Add(-time.Hour)}
	if got, want := follow(f, 3), []string{"mail.1 issued: serial 5f", "web.1 refused: busy", "web.2 dead letter: rejected: no (letter 1)"}; !slices.Equal(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
	f.Producer = "web"
	if got, want := follow(f, 2), []string{"web.1 refused: busy", "web.2 dead letter: rejected: no (letter 1)"}; !slices.Equal(got, want) {
		t.Errorf("events of a producer are %q, want %q", got, want)
	}
	f.Layout.Dead = "GONE"
	for _, err := range f.Events(ctx) {
		if err == nil {
			t.Error("a missing stream is no error")
		}
	}
}

func TestChangesOfTheFleet(t *testing.T) {
	t.Parallel()
	was := things(control.State{Workers: []control.Presence{{Worker: "a"}, {Worker: "b"}}, Pauses: []control.PauseLeft{{}}})
	is := things(control.State{
		Workers: []control.Presence{{Worker: "a"}, {Worker: "b", Silent: true}}, Pauses: []control.PauseLeft{{}},
		Breakers: []control.Breaker{{Operation: "enroll", CA: "ca", Cause: "HTTP 502"}},
	})
	var got []string
	for _, e := range changes(was, is, time.Now()) {
		got = append(got, fmt.Sprintf("%s %s %s", e.What, e.About(), e.Detail))
	}
	if want := []string{"worker left  b", "breaker opened ca enroll: HTTP 502"}; !slices.Equal(got, want) {
		t.Errorf("changes are %q, want %q", got, want)
	}
}

// Tail does not repeat decisions that the ledger reports.
func TestDecisionsThatAreEvents(t *testing.T) {
	t.Parallel()
	for decision, want := range map[string]bool{"submitted": false, "issued": false, "head": false, "replayed": true, "policy changed": true} {
		if _, tells := ofDecision(&audit.Record{Decision: decision, Outcome: "issued"}, time.Now()); tells != want {
			t.Errorf("%s is an event: %t, want %t", decision, tells, want)
		}
	}
	if e, tells := ofDecision(&audit.Record{Decision: "issued", Outcome: "issued", Operator: "eve", How: "completed"}, time.Now()); !tells || e.Detail != "by eve, completed" {
		t.Errorf("an operator's is %+v, %t", e, tells)
	}
}
