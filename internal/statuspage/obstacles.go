package statuspage

import (
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// Obstacles are what the control bucket says of what holds orders up.
func Obstacles(s control.State) []timeline.Obstacle {
	var all []timeline.Obstacle
	for _, b := range s.Breakers {
		all = append(all, timeline.Obstacle{Kind: timeline.Breaker, Operation: b.Operation, CA: b.CA, Since: b.Since, Next: b.Next, Why: b.Cause})
	}
	for _, p := range s.Pauses {
		all = append(all, timeline.Obstacle{Kind: timeline.Pause, Next: p.Until})
	}
	for _, u := range s.Suspensions {
		all = append(all, timeline.Obstacle{Kind: timeline.Suspension, Lane: u.Lane, CA: u.CA, Producer: u.Producer, Since: u.Since, By: u.Operator, Why: u.Reason})
	}
	return all
}
