package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// scopes formats the scopes of suspensions.
func scopes(all []Suspension) string {
	var names []string
	for _, s := range all {
		names = append(names, s.String())
	}
	return strings.Join(names, "; ")
}

// A suspension reaches running workers and workers that start later, with operator and
// reason. It stays until exactly its scope is resumed.
func TestSuspensionsAreTheFleets(t *testing.T) {
	t.Parallel()
	server, kv := newBus(t)
	operator := worker(server.JetStream(t), "operator")
	var seen news
	running := worker(server.JetStream(t), "a")
	var told []Suspension
	calls := 0
	follow := func(n *news, told *[]Suspension, calls *int) Handlers {
		h := n.handlers()
		h.Suspended = func(all []Suspension) { n.set(func() { *told = all; *calls++ }) }
		return h
	}
	run(t, running, follow(&seen, &told, &calls))
	eventually(t, "the word that nothing is suspended", seen.has(func() bool { return calls == 1 && len(told) == 0 && seen.synced == 1 }))

	order := Suspension{Scope: Scope{Lane: "issue", Producer: "shop", CA: "CN=An issuing CA"}, Operator: "ann@host", Reason: "wrong profile"}
	before := time.Now().Add(-time.Minute)
	stands, added, err := operator.Suspend(t.Context(), order)
	must(t, err)
	if !added || stands.Scope != order.Scope {
		t.Errorf("suspending added %v: %+v", added, stands)
	}
	eventually(t, "the suspension at a worker that runs", seen.has(func() bool {
		return len(told) == 1 && told[0].Scope == order.Scope && told[0].Operator == "ann@host" && told[0].Reason == "wrong profile" && told[0].Since.After(before)
	}))

	// A second order of the same scope changes nothing.
	again := order
	again.Operator, again.Reason = "bob@host", "other words"
	stands, added, err = operator.Suspend(t.Context(), again)
	must(t, err)
	if added || stands.Operator != "ann@host" || stands.Since.Before(before) {
		t.Errorf("suspending again added %v: %+v", added, stands)
	}
	_, _, err = operator.Suspend(t.Context(), Suspension{Operator: "ann@host"})
	must(t, err)
	put(t, kv, "suspended.issue.=.=", `{"lane":"poll"}`) // of another key
	put(t, kv, "suspended.poll.=.=", `not JSON`)
	all, err := operator.Suspensions(t.Context())
	must(t, err)
	if got, want := scopes(all), "lane issue, producer shop, CA CN=An issuing CA; all calls"; got != want {
		t.Errorf("suspended: %s, want %s", got, want)
	}
	var later news
	var toldLater []Suspension
	callsLater := 0
	run(t, worker(server.JetStream(t), "b"), follow(&later, &toldLater, &callsLater))
	eventually(t, "both at a worker that starts", later.has(func() bool { return callsLater == 1 && scopes(toldLater) == scopes(all) }))

	if _, removed, err := operator.Resume(t.Context(), Scope{Lane: "issue", Producer: "shop"}); err != nil || removed {
		t.Errorf("resuming another scope removed %v, %v", removed, err)
	}
	was, removed, err := operator.Resume(t.Context(), order.Scope)
	if err != nil || !removed || was.Operator != "ann@host" {
		t.Errorf("resuming removed %v: %+v, %v", removed, was, err)
	}
	eventually(t, "the end at both", func() bool {
		return seen.has(func() bool { return scopes(told) == "all calls" })() && later.has(func() bool { return scopes(toldLater) == "all calls" })()
	})
	must(t, kv.Delete(t.Context(), "suspended.=.=.="))
	eventually(t, "the end of what an operator deleted", seen.has(func() bool { return len(told) == 0 }))
}

// A bucket that is deleted and made again has no suspensions, and workers notice that.
func TestSuspensionsGoWithTheirBucket(t *testing.T) {
	t.Parallel()
	server, _ := newBus(t)
	js := server.JetStream(t)
	a := worker(js, "a")
	var seen news
	h := seen.handlers()
	var told []Suspension
	h.Suspended = func(all []Suspension) { seen.set(func() { told = all }) }
	_, _, err := a.Suspend(t.Context(), Suspension{Scope: Scope{CA: "ca-1"}})
	must(t, err)
	run(t, a, h)
	eventually(t, "the suspension", seen.has(func() bool { return len(told) == 1 }))
	must(t, js.DeleteKeyValue(t.Context(), bucket))
	provision(t, js)
	eventually(t, "its end", seen.has(func() bool { return len(told) == 0 }))
}

func TestSuspensionsAreBounded(t *testing.T) {
	t.Parallel()
	server, _ := newBus(t)
	a := worker(server.JetStream(t), "a")
	for i := range MaxSuspensions {
		_, _, err := a.Suspend(t.Context(), Suspension{Scope: Scope{Producer: fmt.Sprint("p", i)}})
		must(t, err)
	}
	if _, _, err := a.Suspend(t.Context(), Suspension{}); !errors.Is(err, ErrTooManySuspensions) {
		t.Errorf("one more: %v", err)
	}
	if _, added, err := a.Suspend(t.Context(), Suspension{Scope: Scope{Producer: "p0"}}); err != nil || added {
		t.Errorf("one that stands: added %v, %v", added, err)
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	for _, tc := range []struct {
		scope     Scope
		name, key string
		problem   string // part of the error, "" if there is none
	}{
		{Scope{}, "all calls", "suspended.=.=.=", ""},
		{Scope{Lane: "revoke"}, "lane revoke", "suspended.revoke.=.=", ""},
		{Scope{Producer: "shop", CA: "ca-1"}, "producer shop, CA ca-1", "suspended.=.shop.ca-1", ""},
		{Scope{CA: "="}, "CA =", "suspended.=.=." + token("="), ""}, // not the key of all CAs
		{Scope{Lane: "revoke-again"}, "lane revoke-again", "suspended.revoke-again.=.=", "the lanes are issue, revoke, poll, manage"},
		{Scope{Producer: "a.b"}, "producer a.b", "suspended.=." + token("a.b") + ".=", "not the name of a producer"},
		{Scope{CA: "a\nb"}, "CA a\nb", "suspended.=.=." + token("a\nb"), "not the id of a CA"},
		{Scope{CA: long}, "CA " + long, "suspended.=.=." + token(long), "not the id of a CA"},
		{Scope{Lane: "manage"}, "lane manage", "suspended.manage.=.=", ""},
		{Scope{Lane: "manage", Producer: "shop"}, "lane manage, producer shop", "suspended.manage.shop.=", "makes no calls"},
	} {
		if got := tc.scope.String(); got != tc.name {
			t.Errorf("%+v is named %q, want %q", tc.scope, got, tc.name)
		}
		if got := tc.scope.key(); got != tc.key {
			t.Errorf("%+v is kept under %q, want %q", tc.scope, got, tc.key)
		}
		switch err := tc.scope.Validate(); {
		case tc.problem == "" && err != nil:
			t.Errorf("%+v: %v", tc.scope, err)
		case tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)):
			t.Errorf("%+v: %v, want %q", tc.scope, err, tc.problem)
		}
	}
	if !slices.Contains(Lanes(), "issue") {
		t.Error("no lane issue")
	}
}
