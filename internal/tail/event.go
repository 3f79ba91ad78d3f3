// Package tail follows events on the bus as they happen: changes of orders, dead letters,
// decisions of the audit trail, certificate events, and changes of the fleet. It is for
// operators and scripts. It changes nothing, and no decision uses it: an event may be
// missed while the bus is away.
package tail

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// Event is one event. Detail is untrusted text. The verb prints the JSON of Event.
type Event struct {
	Time   time.Time       `json:"time"`
	What   timeline.What   `json:"what"`
	Source timeline.Source `json:"source"`
	// Producer, Order and Kind identify the order, "" if the event concerns none.
	Producer string          `json:"producer,omitempty"`
	Order    string          `json:"id,omitempty"`
	Kind     entrustbus.Kind `json:"kind,omitempty"`
	Replay   int             `json:"replay,omitempty"`
	CAID     string          `json:"ca_id,omitempty"`
	Detail   string          `json:"detail,omitempty"`
}

// Sources that do not occur in the story of an order.
const (
	FromFleet       timeline.Source = "fleet"
	FromCertificate timeline.Source = "certificate events"
)

// Events that do not occur in the story of an order.
const (
	Submitting    timeline.What = "submitting"
	WorkerCame    timeline.What = "worker came"
	WorkerLeft    timeline.What = "worker left"
	BreakerOpened timeline.What = "breaker opened"
	BreakerClosed timeline.What = "breaker closed"
	Paused        timeline.What = "paused"
	Suspended     timeline.What = "suspended"
	Resumed       timeline.What = "resumed"
)

// About names the subject of the event: the order, the producer or the CA.
func (e *Event) About() string {
	if e.Order != "" {
		return order.Key{Producer: e.Producer, ID: e.Order}.String()
	}
	return cmp.Or(e.Producer, e.CAID)
}

// ofRecord returns the event of a ledger record. It returns false if another event
// reports it.
func ofRecord(key order.Key, r order.Record, at time.Time) (Event, bool) {
	e := Event{Time: at, Source: timeline.FromLedger, Producer: key.Producer, Order: key.ID, Kind: r.Kind, Replay: r.Generation, CAID: r.CAID}
	cause := ""
	if r.Cause != nil {
		cause = r.Cause.Message
	}
	switch r.Phase {
	case order.Submitting:
		e.What, e.Detail = Submitting, "worker "+r.Owner
	case order.Unaccepted:
		if e.What, e.Detail = timeline.Refused, cause; r.Cause != nil && r.Cause.Code == order.CodeQuota {
			e.What = timeline.Deferred
		}
	case order.Indeterminate:
		e.What, e.Detail = timeline.LostReply, cause
	case order.Awaiting:
		e.What, e.Detail = timeline.Parked, fmt.Sprintf("tracking id %s, deadline %s", r.TrackingID, r.Deadline.UTC().Format(time.RFC3339))
	case order.Closed:
		e.What = timeline.What(r.Outcome)
		if r.Serial != "" {
			e.Detail = "serial " + r.Serial
		}
	default: // concluded: it closes soon
		return e, false
	}
	return e, true
}

func ofLetter(l *deadletter.Letter, at time.Time) Event {
	return Event{
		Time: at, What: timeline.DeadLetter, Source: timeline.FromLetter, Producer: l.Key.Producer, Order: l.Key.ID, Kind: l.Kind,
		Replay: l.Generation, Detail: fmt.Sprintf("%s: %s (letter %d)", l.Reason, l.Why, l.Sequence),
	}
}

// ofDecision returns the event of an audit record. It returns false for heads and for
// decisions that the ledger reports too.
func ofDecision(r *audit.Record, at time.Time) (Event, bool) {
	e := Event{
		Time: at, What: timeline.What(r.Decision), Source: timeline.FromAudit, Producer: r.Producer, Order: r.Order, Kind: entrustbus.Kind(r.Kind),
		Replay: r.Generation, CAID: r.CAID,
	}
	if r.Decision == audit.DecisionHead || r.Operator == "" && (r.Decision == string(order.ActSubmitted) || r.Decision == r.Outcome) {
		return e, false
	}
	var parts []string
	for _, p := range [][2]string{{"by ", r.Operator}, {"reason: ", r.Reason}, {"", r.How}, {"rule ", r.Rule}, {"is ", r.Is}, {"was ", r.Was}} {
		if p[1] != "" {
			parts = append(parts, p[0]+p[1])
		}
	}
	e.Detail = strings.Join(parts, ", ")
	return e, true
}

func ofCertificate(c *entrustbus.Event, at time.Time) Event {
	return Event{Time: at, What: timeline.What(c.Action), Source: FromCertificate, CAID: c.CAID, Detail: "serial " + cmp.Or(c.Serial, "not given")}
}
