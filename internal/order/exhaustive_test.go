package order

import (
	"os"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// scenes are the searched scenes. With two orders under way, a fault happens only where the
// orders meet: the others belong to the scene of one order.
func scenes() []*scene {
	short, large := func(s *scene) { s.short = true }, func(s *scene) { s.large = true }
	meeting := possible(delay, death, lostAck, staleRedelivery, lostRecord, replay, poison)
	return []*scene{
		newScene("issue, hold, look-up", entrustbus.KindIssue, nil),
		newScene("issue, hold, no look-up", entrustbus.KindIssue, noLookUp),
		newScene("issue, resubmit, look-up", entrustbus.KindIssue, on(resubmits, large)),
		newScene("issue, resubmit, no look-up", entrustbus.KindIssue, on(resubmits, noLookUp, large)),
		newScene("issue, approval never", entrustbus.KindIssue, neverWaits),
		newScene("issue, after its turn", entrustbus.KindIssue, on(short, func(s *scene) { s.turns = true })),
		newScene("issue, reads before answers", entrustbus.KindIssue, on(short, func(s *scene) { s.fresh = true })),
		newScene("issue, rollback, look-up", entrustbus.KindIssue, rolledBack(death, staleRedelivery)),
		newScene("issue, rollback, no look-up", entrustbus.KindIssue, on(noLookUp, rolledBack(death, replay))),
		newScene("issue, rollback, approval never", entrustbus.KindIssue, on(neverWaits, rolledBack(death, delay, staleRedelivery))),
		newScene("issue and cancel, rollback", entrustbus.KindIssue, on(cancelled, short, rolledBack())),
		newScene("revoke", entrustbus.KindRevoke, nil),
		newScene("track", entrustbus.KindTrack, nil),
		newScene("issue and cancel", entrustbus.KindIssue, on(cancelled, meeting, large)),
		newScene("track and cancel", entrustbus.KindTrack, on(cancelled, meeting, short)),
	}
}

// TestExhaustive drives the machine through every sequence of events. For a long run, set
// ORDER_SEARCH_MORE to the number of events to add to each depth. With 1 it takes minutes and
// some gigabytes.
func TestExhaustive(t *testing.T) {
	percent := debug.SetGCPercent(400)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	more, _ := strconv.Atoi(os.Getenv("ORDER_SEARCH_MORE"))
	if raced {
		more-- // the machine starts no goroutine, and the run without the detector searches this too
	}
	for _, s := range scenes() {
		for _, depth := range []struct{ events, faults int }{{6, 1}, {4, 2}} {
			if depth.faults == 2 && more <= 0 && (s.short || raced) {
				continue
			}
			t.Run(s.name+"/"+strconv.Itoa(depth.faults), func(t *testing.T) {
				t.Parallel()
				found := search{scene: s, events: depth.events + more, faults: depth.faults}
				if !found.run() {
					t.Fatalf("%v\n%s", &found, found.story())
				}
				t.Log(&found)
			})
		}
	}
}
