package timeline

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/control"
)

// Fleet returns an Obstacles that reads the control bucket. It reports suspensions,
// pauses, open breakers, a gateway that no worker can call, and a fleet without a worker.
func Fleet(js jetstream.JetStream, bucket string) Obstacles {
	return func(ctx context.Context) ([]Obstacle, error) {
		state, err := control.ReadState(ctx, js, bucket, 0)
		if err != nil {
			return nil, err
		}
		return ofState(state), nil
	}
}

// ofState returns the obstacles in a fleet's state.
func ofState(s control.State) (out []Obstacle) {
	for _, stop := range s.Suspensions {
		out = append(out, Obstacle{Kind: Suspension, Lane: stop.Lane, Producer: stop.Producer, CA: stop.CA, Since: stop.Since, By: stop.Operator, Why: stop.Reason})
	}
	problem, live, troubled := "", 0, 0
	for _, w := range s.Workers {
		if w.Silent {
			continue
		}
		live++
		if w.GatewayProblem != "" {
			problem, troubled = w.GatewayProblem, troubled+1
		}
	}
	switch {
	case live == 0:
		out = append(out, Obstacle{Kind: NoWorker})
	case troubled == live:
		out = append(out, Obstacle{Kind: NoGateway, Why: problem})
	}
	until := time.Time{}
	for _, p := range s.Pauses {
		if p.Until.After(until) {
			until = p.Until
		}
	}
	if !until.IsZero() {
		out = append(out, Obstacle{Kind: Pause, Next: until})
	}
	for _, b := range s.Breakers {
		out = append(out, Obstacle{Kind: Breaker, Operation: b.Operation, CA: b.CA, Since: b.Since, Next: b.Next, Why: b.Cause})
	}
	return out
}
