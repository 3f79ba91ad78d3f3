package oracle

import (
	"testing"
	"time"
)

// An order is held only where a fault explains it.
func TestFaultsExplain(t *testing.T) {
	t.Parallel()
	t0 := time.Now()
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	for _, tc := range []struct {
		name   string
		spans  []span
		spoilt int
		held   []held
		want   int // findings
	}{
		{"no fault, none held", nil, 0, nil, 0},
		{"no fault", nil, 0, []held{{"a", at(0), at(5)}}, 1},
		{"a kill between", []span{{at(3), at(3)}}, 0, []held{{"a", at(0), at(5)}}, 0},
		{"a fault that began before", []span{{at(-9), at(1)}}, 0, []held{{"a", at(0), at(5)}}, 0},
		{"a fault that goes on", []span{{at(4), time.Time{}}}, 0, []held{{"a", at(0), at(5)}}, 0},
		{"a fault before", []span{{at(-9), at(-1)}}, 0, []held{{"a", at(0), at(5)}}, 1},
		{"a fault after", []span{{at(6), at(9)}}, 0, []held{{"a", at(0), at(5)}}, 1},
		{"an answer spoilt", nil, 1, []held{{"a", at(0), at(5)}}, 0},
		{"more than were spoilt", nil, 1, []held{{"a", at(0), at(5)}, {"b", at(0), at(5)}}, 2},
		{"one spoilt, one by a kill", []span{{at(3), at(3)}}, 1, []held{{"a", at(0), at(2)}, {"b", at(0), at(5)}}, 0},
	} {
		f := &Faults{spans: tc.spans, spoilt: tc.spoilt}
		var r Report
		f.explain(&r, tc.held)
		if len(r.Findings) != tc.want {
			t.Errorf("%s: found %q, want %d", tc.name, r.Findings, tc.want)
		}
	}
}

func TestFaultsNoted(t *testing.T) {
	t.Parallel()
	var f Faults
	before := time.Now()
	end := f.Begin()
	if now := time.Now(); !f.during(now, now) {
		t.Error("a fault that lasts does not count")
	}
	end()
	after := time.Now()
	if !f.during(before, after) || f.during(before.Add(-time.Hour), before.Add(-time.Minute)) {
		t.Error("a fault counts outside of its time, or not within")
	}
}
