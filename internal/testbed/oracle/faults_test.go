package oracle

import (
	"testing"
	"time"
)

// An order is held only if a fault explains it. A fault explains at most as many orders
// as it can have cost.
func TestFaultsExplain(t *testing.T) {
	t.Parallel()
	t0 := time.Now()
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	order := func(from, to int) submission { return submission{"a", at(from), at(to)} }
	many := []submission{order(0, 5), order(0, 5), order(0, 5)}
	for _, tc := range []struct {
		name   string
		spans  []*span
		spoilt int
		held   []submission
		well   []submission // submissions of orders that are not held
		want   int          // findings
		most   int
	}{
		{"no fault, none held", nil, 0, nil, nil, 0, 0},
		{"no fault", nil, 0, []submission{order(0, 5)}, nil, 1, 0},
		{"a kill between", []*span{{at(3), at(3), 4}}, 0, []submission{order(0, 5)}, nil, 0, 1},
		{"a fault that began before", []*span{{at(-9), at(1), 4}}, 0, []submission{order(0, 5)}, nil, 0, 1},
		{"a fault that goes on", []*span{{at(4), time.Time{}, 4}}, 0, []submission{order(0, 5)}, nil, 0, 1},
		{"a fault before", []*span{{at(-9), at(-1), 4}}, 0, []submission{order(0, 5)}, nil, 1, 0},
		{"a fault after", []*span{{at(6), at(9), 4}}, 0, []submission{order(0, 5)}, nil, 1, 0},
		{"an answer spoilt", nil, 1, []submission{order(0, 5)}, nil, 0, 1},
		{"more than were spoilt", nil, 1, []submission{order(0, 5), order(0, 5)}, nil, 2, 1},
		{"one spoilt, one by a kill", []*span{{at(3), at(3), 4}}, 1, []submission{order(0, 2), order(0, 5)}, nil, 0, 2},
		{"more than the fault can cost", []*span{{at(3), at(3), 2}}, 0, many, nil, 1, 2},
		{"one more is spoilt", []*span{{at(3), at(3), 2}}, 1, many, nil, 0, 3},
		{"a fault that can cost nothing", []*span{{at(3), at(3), 0}}, 0, many, nil, 3, 0},
		{"each by a fault of its own", []*span{{at(1), at(1), 1}, {at(4), at(4), 1}}, 0, []submission{order(0, 5), order(0, 2)}, nil, 0, 2},
		// The first submission takes the first fault, and makes room for the second.
		{"one has to move", []*span{{at(1), at(1), 1}, {at(4), at(4), 1}}, 0, []submission{order(0, 5), order(-9, 2)}, nil, 0, 2},
		{"good orders were under way too", []*span{{at(3), at(3), 2}}, 0, nil, many, 0, 2},
	} {
		f := &Faults{spans: tc.spans, spoilt: tc.spoilt}
		var r Report
		most := f.explain(&r, tc.held, append(tc.held, tc.well...))
		if len(r.Findings) != tc.want || most != tc.most {
			t.Errorf("%s: found %q, at most %d, want %d and at most %d", tc.name, r.Findings, most, tc.want, tc.most)
		}
	}
}

func TestFaultsNoted(t *testing.T) {
	t.Parallel()
	var f Faults
	before := time.Now()
	end := f.Begin(1)
	now := time.Now()
	if !f.spans[0].meets(submission{from: now, to: now}) {
		t.Error("a fault that lasts does not count")
	}
	end()
	after := time.Now()
	s := f.spans[0]
	if !s.meets(submission{from: before, to: after}) || s.meets(submission{from: before.Add(-time.Hour), to: before.Add(-time.Minute)}) {
		t.Error("a fault counts outside of its time, or not within")
	}
}
