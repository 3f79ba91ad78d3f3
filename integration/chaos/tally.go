package main

import (
	"fmt"
	"io"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// tally is the result of one seed, or the sum of all.
type tally struct {
	*oracle.Report // of one seed

	orders, lost, doubles, seconds, early, held, explained int
	took                                                   time.Duration
	// Of the scenario parking.
	parking                      bool
	polls, fewest, kills         int
	late, across, repaired, runs int
}

func tallyOf(r *oracle.Report) *tally {
	if r == nil {
		return nil
	}
	return &tally{
		Report: r, orders: r.Orders, lost: r.Lost, doubles: r.DoubleEnrollments, seconds: r.SecondResults,
		early: r.EarlyPolls, held: r.HeldUnconfirmed, explained: r.Explained,
	}
}

func (t *tally) add(o *tally) {
	if t.runs == 0 || o.fewest < t.fewest {
		t.fewest = o.fewest
	}
	t.runs++
	t.parking = o.parking
	t.orders += o.orders
	t.polls += o.polls
	t.kills += o.kills
	t.lost += o.lost
	t.doubles += o.doubles
	t.seconds += o.seconds
	t.early += o.early
	t.late += o.late
	t.held += o.held
	t.explained += o.explained
	t.repaired += o.repaired
	t.across += o.across
	t.took += o.took
}

// print writes the line of one seed, and details below it.
func (t *tally) print(w io.Writer, o options) {
	fmt.Fprintf(w, "seed=%d %s\n", o.seed, t)
	t.Details(w)
	if !t.Good() {
		fmt.Fprintf(w, "  logs %s\n", o.logs)
	}
}

func (t *tally) String() string {
	counts := fmt.Sprintf("lost=%d double_enrollments=%d second_results=%d early_polls=%d held_unconfirmed=%d explained<=%d",
		t.lost, t.doubles, t.seconds, t.early, t.held, t.explained)
	if t.parking {
		counts += fmt.Sprintf(" polls=%d fewest_polls=%d kills=%d polls_after_close=%d polls_across_end=%d repaired_by_watchdog=%d",
			t.polls, t.fewest, t.kills, t.late, t.across, t.repaired)
	}
	return fmt.Sprintf("%s orders=%d seconds=%.0f", counts, t.orders, t.took.Seconds())
}
