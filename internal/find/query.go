package find

import (
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// Query selects orders. The zero value of a field selects all orders; an order must match
// every other field. A Query is a plain value.
type Query struct {
	Phases   []order.Phase // any of these; empty: all
	Producer string
	Kind     entrustbus.Kind
	Outcome  entrustbus.Outcome
	// Trouble selects orders that need an operator: see timeline.TroubleOf.
	Trouble bool
	// Serial is in lower-case hexadecimal without leading zeros; see Serial.
	Serial     string
	TrackingID string
	// Name is a part of a name or of the subject, in any case.
	Name string
	// Before and After bound when the order was requested, exclusively.
	Before, After time.Time
	// WakeupBefore and DeadlineBefore select waiting orders.
	WakeupBefore, DeadlineBefore time.Time
}

// Serial converts a serial number to the form of Query.Serial. It accepts the forms that
// tools print: any case, leading 0x, colons, blanks, leading zeros. It returns false for
// any other text.
func Serial(text string) (string, bool) {
	n, err := (&entrustbus.Revoke{Serial: text}).SerialNumber()
	if err != nil {
		return "", false
	}
	return n.Text(16), true
}

// Match reports whether the query selects an order by its record. It ignores Name and
// WakeupBefore, because a record does not contain them.
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

// named reports whether the names of an order match the query.
func (q *Query) named(f *timeline.Facts) bool {
	if q.Name == "" {
		return true
	}
	holds := func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(q.Name)) }
	return holds(f.Subject) || slices.ContainsFunc(f.Names, holds)
}

// ends reports whether all orders that the query selects have, or may have, a dead
// letter.
func (q *Query) ends() bool {
	switch q.Outcome {
	case entrustbus.OutcomeFailed, entrustbus.OutcomeRejected, entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed:
		return true
	case "":
		return q.Trouble || q.Name != "" || q.TrackingID != ""
	}
	return false
}

// waits reports whether an order that the query selects may wait for a wake-up.
func (q *Query) waits() bool {
	if q.Outcome != "" || q.Serial != "" {
		return false
	}
	if len(q.Phases) > 0 {
		return slices.ContainsFunc(q.Phases, order.Phase.Waits)
	}
	return q.Trouble || q.Name != "" || q.TrackingID != "" || !q.WakeupBefore.IsZero() || !q.DeadlineBefore.IsZero()
}
