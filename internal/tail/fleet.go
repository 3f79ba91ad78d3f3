package tail

import (
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// thing is a part of the fleet's state that comes and goes.
type thing struct {
	came, left timeline.What
	ca, detail string
}

// things returns the things of a state by their names.
func things(s control.State) map[string]thing {
	all := map[string]thing{}
	for _, w := range s.Workers {
		if !w.Silent {
			all["worker "+w.Worker] = thing{WorkerCame, WorkerLeft, "", w.Worker}
		}
	}
	for _, b := range s.Breakers {
		detail := b.Operation
		if b.Cause != "" {
			detail += ": " + b.Cause
		}
		all["breaker "+b.Operation+" "+b.CA] = thing{BreakerOpened, BreakerClosed, b.CA, detail}
	}
	if len(s.Pauses) > 0 {
		all["pause"] = thing{Paused, Resumed, "", "as the gateway asked"}
	}
	for _, p := range s.Suspensions {
		detail := p.Scope.String()
		if p.Operator != "" {
			detail += ", by " + p.Operator
		}
		if p.Reason != "" {
			detail += ": " + p.Reason
		}
		all["suspension "+p.Scope.String()] = thing{Suspended, Resumed, p.CA, detail}
	}
	return all
}

// changes returns the events between two states.
func changes(was, is map[string]thing, at time.Time) (out []Event) {
	event := func(what timeline.What, t thing) Event {
		return Event{Time: at.UTC(), What: what, Source: FromFleet, CAID: t.ca, Detail: t.detail}
	}
	for name, t := range was {
		if _, stays := is[name]; !stays {
			out = append(out, event(t.left, t))
		}
	}
	for name, t := range is {
		if _, stood := was[name]; !stood {
			out = append(out, event(t.came, t))
		}
	}
	return out
}
