package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func TestLivePrintsWhatHappens(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	result := func(id string, o entrustbus.Outcome) *entrustbus.Result {
		return &entrustbus.Result{Producer: "me", ID: id, Outcome: o, FinishedAt: at}
	}
	var out bytes.Buffer
	l := &live{out: &out}
	// One screen goes through all of them.
	for _, tt := range []struct {
		name    string
		results []*entrustbus.Result
		waiting int
		want    []string
	}{
		{name: "nothing", want: nil},
		{name: "an order waits", waiting: 1, want: []string{"since the batch: 0 results; 1 waiting"}},
		{name: "still", waiting: 1, want: nil},
		{
			name: "it is issued, another is rejected", results: []*entrustbus.Result{
				{Producer: "me", ID: "a", Outcome: entrustbus.OutcomeIssued, Serial: "0a", FinishedAt: at},
				{Producer: "me", ID: "b", Outcome: entrustbus.OutcomeRejected, Error: &entrustbus.ResultError{Message: "not today"}, FinishedAt: at},
			},
			want: []string{"03:04:05  me.a  issued  serial 0a", "03:04:05  me.b  rejected  not today", "since the batch: 2 results (1 issued, 1 rejected); 0 waiting"},
		},
		{
			name: "a flood", results: func() (many []*entrustbus.Result) {
				for i := range liveLines + 5 {
					many = append(many, result(fmt.Sprint(i), entrustbus.OutcomeRevoked))
				}
				return many
			}(),
			want: []string{"03:04:05  me.9  revoked", "… and 5 more results", "since the batch: 17 results (1 issued, 15 revoked, 1 rejected); 0 waiting"},
		},
	} {
		out.Reset()
		for _, r := range tt.results {
			l.add(r)
		}
		l.print(tt.waiting)
		if len(tt.want) == 0 && out.Len() > 0 {
			t.Errorf("%s: got %q, want nothing", tt.name, out.String())
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want+"\n") {
				t.Errorf("%s: no line %q in:\n%s", tt.name, want, out.String())
			}
		}
	}
}

// Orders and revocations, and the outcomes, add up to the requests.
func TestSummaryAddsUp(t *testing.T) {
	t.Parallel()
	got := sandboxCommand(t, quick("--pending", "0.2")...)
	s := summaryOf(t, got.stdout)
	if s.Orders+s.Revocations != s.Requests || s.Orders == 0 || s.Revocations == 0 {
		t.Errorf("%d orders + %d revocations, %d requests", s.Orders, s.Revocations, s.Requests)
	}
	if sum := s.Issued + s.Revoked + s.Rejected + s.Failed + s.Expired + s.Unconfirmed + s.Cancelled + s.Lost; sum != s.Requests {
		t.Errorf("the outcomes are %d, the requests %d: %+v", sum, s.Requests, s)
	}
	var all summary
	for _, o := range []entrustbus.Outcome{"issued", "revoked", "rejected", "failed", "expired", "unconfirmed", "cancelled"} {
		all.count(o, 1)
	}
	if want := (summary{Issued: 1, Revoked: 1, Rejected: 1, Failed: 1, Expired: 1, Unconfirmed: 1, Cancelled: 1}); all != want {
		t.Errorf("each outcome once: got %+v", all)
	}
	var table strings.Builder
	(&report{summary: s}).lines(&table)
	for _, want := range []string{"orders                     40", "revocations                 4", "requests, of both          44"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, table.String())
		}
	}
}
