package main

import (
	"testing"
	"time"
)

// The check must find each violation of a bar.
func TestCheckPolls(t *testing.T) {
	t.Parallel()
	t0 := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds ...float64) (all []time.Time) {
		for _, s := range seconds {
			all = append(all, t0.Add(time.Duration(s*float64(time.Second))))
		}
		return all
	}
	for _, tc := range []struct {
		name   string
		polls  []time.Time
		closed time.Time
		want   figures
	}{
		{"as it was due", at(10.2, 100.3), at(100.4)[0], figures{polls: 2}},
		{"first one early", at(9.9, 100.3), at(100.4)[0], figures{polls: 2, early: 1}},
		{"second one early", at(10.2, 99.9), at(100.4)[0], figures{polls: 2, early: 1}},
		{"early, and again when it was due", at(10.2, 99.9, 100.1), at(100.4)[0], figures{polls: 3, early: 1, again: 1}},
		{"asked again after a death", at(10.2, 100.3, 160), at(160.1)[0], figures{polls: 3, again: 1}},
		{"polled after its end", at(10.2, 100.3, 160), at(100.4)[0], figures{polls: 3, again: 1, afterClose: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := newTimetable(&requests{kind: kindHold, csrs: make([][]byte, 1)}, 1, 0)
			d.first[0], d.second[0], d.isDue[0], d.quiet = at(10)[0], at(100)[0], true, at(60)[0]
			var got figures
			d.checkPolls(0, tc.polls, tc.closed, &got)
			if got.polls != tc.want.polls || got.early != tc.want.early || got.again != tc.want.again || got.afterClose != tc.want.afterClose {
				t.Errorf("%d polls, %d early, %d again, %d after the end; want %d, %d, %d, %d", got.polls, got.early, got.again, got.afterClose,
					tc.want.polls, tc.want.early, tc.want.again, tc.want.afterClose)
			}
			if got.window.Len() != 1 || got.second.Len() != 1 {
				t.Errorf("lateness of %d and %d polls, want one each", got.window.Len(), got.second.Len())
			}
		})
	}
}

// Polls before the window do not count as the window's.
func TestCheckPollsBeforeTheWindow(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	d := newTimetable(&requests{kind: kindHold, csrs: make([][]byte, 1)}, 1, 1)
	d.first[0], d.begins, d.quiet, d.isDue[0] = due, due.Add(time.Second), due.Add(time.Minute), true
	var got figures
	d.checkPolls(0, []time.Time{due.Add(5 * time.Second)}, time.Time{}, &got)
	if got.ahead.At(1) != 5*time.Second || got.window.Len() != 0 {
		t.Errorf("%d polls before the window, %v late, and %d in it; want one, 5 s, none", got.ahead.Len(), got.ahead.At(1), got.window.Len())
	}
}

// An order that stays parked must not be polled.
func TestCheckPollsOfWhatStays(t *testing.T) {
	t.Parallel()
	d := newTimetable(&requests{kind: kindHold, csrs: make([][]byte, 1)}, 1, 0)
	var got figures
	d.checkPolls(0, nil, time.Time{}, &got)
	if got.early != 0 || got.polls != 0 {
		t.Errorf("%d polls, %d early, of an order without one", got.polls, got.early)
	}
	d.checkPolls(0, []time.Time{time.Now(), time.Now()}, time.Time{}, &got)
	if got.early != 2 || got.polls != 2 || got.ahead.Len()+got.window.Len()+got.second.Len() != 0 {
		t.Errorf("%d polls, %d early, want 2 and 2", got.polls, got.early)
	}
}

// The second polls begin after the window, and at most endings of them end per second.
func TestSecondWait(t *testing.T) {
	t.Parallel()
	p := plan{window: time.Minute, lead: 30 * time.Second}
	for _, n := range []int{1000, 10_000, burst, 5 * burst} {
		wait := p.secondWait(n).Seconds()
		if first := wait * (1 - jitter); first < (p.lead+p.window+gap).Seconds()-0.001 {
			t.Errorf("%d orders: the first second poll comes %.1f s after a first one, before the window is over", n, first)
		}
		if rate := float64(min(n, burst)+p.ahead(n)) / (2 * jitter * wait); rate > endings+0.001 {
			t.Errorf("%d orders: %.0f second polls a second, want %d at most", n, rate, endings)
		}
	}
}

// The report names exactly the missed bars.
func TestBars(t *testing.T) {
	t.Parallel()
	good := func() *figures {
		f := &figures{orders: 100_000, issued: warmUp + 10_000, issuing: 10 * time.Second, parking: 100 * time.Second}
		f.window.Add(200 * time.Millisecond)
		return f
	}
	for _, tc := range []struct {
		name  string
		spoil func(*figures)
		want  int
	}{
		{"all met", func(*figures) {}, 0},
		{"slow", func(f *figures) { f.parking = 200 * time.Second }, 1},
		{"too few to tell the rate", func(f *figures) { f.orders, f.parking = 1000, 10*time.Second }, 0},
		{"memory", func(f *figures) { f.after.worker.RSS = mostGrowth + 1 }, 1},
		{"goroutines", func(f *figures) { f.after.goroutines = mostGoroutines + 1 }, 1},
		{"late", func(f *figures) { f.window.Add(2 * time.Second) }, 1},
		{"lost and early", func(f *figures) { f.lost, f.early = 1, 1 }, 2},
		{"twice", func(f *figures) { f.twice = 1 }, 1},
		{"after the end", func(f *figures) { f.afterClose = 1 }, 1},
		{"dead letters", func(f *figures) { f.dead = 1 }, 1},
	} {
		f := good()
		tc.spoil(f)
		r := report{sizes: []*figures{f}}
		if got := r.missed(); len(got) != tc.want {
			t.Errorf("%s: missed %q, want %d", tc.name, got, tc.want)
		}
	}
	broken := report{broken: []string{"10 orders: the server is gone"}}
	if got := broken.missed(); len(got) != 1 {
		t.Errorf("a measurement without an end: missed %q", got)
	}
}
