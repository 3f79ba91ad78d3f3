package find

import (
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// Query chooses orders. A field's zero value chooses all; an order must fit every other one. A
// Query is a plain value.
type Query struct {
	Phases   []order.Phase // any of them; none: all
	Producer string
	Kind     entrustbus.Kind
	Outcome  entrustbus.Outcome
	// Trouble chooses orders that an operator should look at: see timeline.TroubleOf.
	Trouble bool
	// Serial is in lower-case hexadecimal without zeros in front; see Serial.
	Serial     string
	TrackingID string
	// Name is a part of a name or of the subject, in any case.
	Name string
	// Before and After bound when the order was requested, exclusively.
	Before, After time.Time
	// WakeupBefore and DeadlineBefore choose orders that wait.
	WakeupBefore, DeadlineBefore time.Time
}

// Serial returns a serial number as a Query has it, from the forms that tools print: any case,
// 0x in front, colons, blanks, leading zeros. It returns false for what is none.
func Serial(text string) (string, bool) {
	n, err := (&entrustbus.Revoke{Serial: text}).SerialNumber()
	if err != nil {
		return "", false
	}
	return n.Text(16), true
}

// Match reports whether the query chooses an order by its record. It does not look at Name and
// WakeupBefore, which a record does not say.
func (q *Query) Match(f *timeline.Facts) bool {
	return (len(q.Phases) == 0 || slices.Contains(q.Phases, f.Phase)) &&
		(q.Producer == "" || f.Producer == q.Producer) &&
		(q.Kind == "" || f.Kind == q.Kind) &&
		(q.Outcome == "" || f.Outcome == q.Outcome) &&
		(!q.Trouble || f.Trouble != "") &&
		(q.Serial == "" || f.Serial == q.Serial) &&
		(q.TrackingID == "" || f.TrackingID == q.TrackingID) &&
		(q.Before.IsZero() || f.Requested.Before(q.Before)) &&
		(q.After.IsZero() || f.Requested.After(q.After)) &&
		(q.WakeupBefore.IsZero() || f.Phase.Waits()) &&
		(q.DeadlineBefore.IsZero() || f.Phase == order.Awaiting && f.Deadline.Before(q.DeadlineBefore))
}

// named reports whether the query chooses an order of these names.
func (q *Query) named(f *timeline.Facts) bool {
	if q.Name == "" {
		return true
	}
	holds := func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(q.Name)) }
	return holds(f.Subject) || slices.ContainsFunc(f.Names, holds)
}

// ends reports whether each order that the query chooses has ended in a dead letter, or may
// have.
func (q *Query) ends() bool {
	switch q.Outcome {
	case entrustbus.OutcomeFailed, entrustbus.OutcomeRejected, entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed:
		return true
	case "":
		return q.Trouble || q.Name != "" || q.TrackingID != ""
	}
	return false
}

// waits reports whether an order that the query chooses may wait for a wake-up.
func (q *Query) waits() bool {
	if q.Outcome != "" || q.Serial != "" {
		return false
	}
	if len(q.Phases) > 0 {
		return slices.ContainsFunc(q.Phases, order.Phase.Waits)
	}
	return q.Trouble || q.Name != "" || q.TrackingID != "" || !q.WakeupBefore.IsZero() || !q.DeadlineBefore.IsZero()
}
