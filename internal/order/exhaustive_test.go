package order

import (
	"os"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// scenes are what is searched.
func scenes() []*scene {
	return []*scene{
		newScene("issue, hold, look-up", entrustbus.KindIssue, nil),
		newScene("issue, hold, no look-up", entrustbus.KindIssue, func(s *scene) { s.canLookUp = false }),
		newScene("issue, resubmit, look-up", entrustbus.KindIssue, func(s *scene) { s.OnLostReply = Resubmit }),
		newScene("issue, resubmit, no look-up", entrustbus.KindIssue, func(s *scene) { s.OnLostReply, s.canLookUp = Resubmit, false }),
		newScene("issue, approval never", entrustbus.KindIssue, func(s *scene) { s.ApprovalNever = true }),
		newScene("issue, reads before answers", entrustbus.KindIssue, func(s *scene) { s.fresh = true }),
		newScene("revoke", entrustbus.KindRevoke, nil),
		newScene("track", entrustbus.KindTrack, nil),
		newScene("issue and cancel", entrustbus.KindIssue, func(s *scene) { s.cancelled = true }),
		newScene("track and cancel", entrustbus.KindTrack, func(s *scene) { s.cancelled = true }),
	}
}

// TestExhaustive drives the machine through every sequence of events. A long run sets
// ORDER_SEARCH_MORE to the events that it adds to each depth.
func TestExhaustive(t *testing.T) {
	t.Cleanup(func(percent int) func() { return func() { debug.SetGCPercent(percent) } }(debug.SetGCPercent(400)))
	more, _ := strconv.Atoi(os.Getenv("ORDER_SEARCH_MORE"))
	for _, s := range scenes() {
		for _, depth := range []struct{ events, faults int }{{6, 1}, {4, 2}} {
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
