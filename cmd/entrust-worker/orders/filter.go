package orders

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// orderFilter chooses orders by flags. Without flags it chooses all.
type orderFilter struct {
	state, phase, producer, kind, outcome string
	olderThan, newerThan                  usage.Span
	pollWithin, deadlineWithin            usage.Span
	name, serial, trackingID              string
	trouble                               bool

	flags *pflag.FlagSet
	now   time.Time
	query find.Query // by check
}

// add declares the flags that choose among what the ledger says.
func (f *orderFilter) add(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.state, "state", "", "only orders that are `open`, waiting, in-flight or closed")
	flags.StringVar(&f.phase, "phase", "", "only orders in this `phase`: submitting, unaccepted, indeterminate, awaiting, concluded or closed")
	flags.StringVar(&f.producer, "producer", "", "only orders of this `producer`")
	flags.StringVar(&f.kind, "kind", "", "only requests of this `kind`: issue, revoke, track or cancel")
	flags.StringVar(&f.outcome, "outcome", "", "only closed orders with this `outcome`")
	flags.BoolVar(&f.trouble, "trouble", false, "only orders that an operator should look at: they fail again and again, are late, or ended badly")
}

// addSearch declares the flags that choose by time, and by what people know of an order.
func (f *orderFilter) addSearch(flags *pflag.FlagSet) {
	flags.Var(&f.olderThan, "older-than", "only orders requested longer ago than this")
	flags.Var(&f.newerThan, "newer-than", "only orders requested within this time")
	flags.Var(&f.pollWithin, "poll-within", "only waiting orders whose next wake-up is due within this time")
	flags.Var(&f.deadlineWithin, "deadline-within", "only awaiting orders whose deadline is within this time")
	flags.StringVar(&f.name, "name", "", "only orders for a certificate with this `text` in a name or its subject, upper or lower case")
	flags.StringVar(&f.serial, "serial", "", "only orders of the certificate with this serial `number`, in hexadecimal")
	flags.StringVar(&f.trackingID, "tracking-id", "", "only the order with this tracking `id` of the gateway")
}

// complete tells shells what the flags take.
func (f *orderFilter) complete(cmd *cobra.Command) {
	usage.Complete(cmd, "state", states()...)
	usage.Complete(cmd, "phase", phases(order.Phases())...)
	usage.Complete(cmd, "kind", kinds()...)
	usage.Complete(cmd, "outcome", "issued", "revoked", "rejected", "failed", "expired", "unconfirmed", "cancelled")
}

func phases(all []order.Phase) (names []string) {
	for _, p := range all {
		names = append(names, string(p))
	}
	return names
}

func kinds() []string { return []string{"issue", "revoke", "track", "cancel"} }

func states() []string { return []string{"open", "waiting", "in-flight", "closed"} }

// phasesOf are the phases of a state.
func phasesOf(state string) []order.Phase {
	return slices.DeleteFunc(order.Phases(), func(p order.Phase) bool {
		switch state {
		case "open":
			return p == order.Closed
		case "waiting":
			return !p.Waits()
		case "in-flight":
			return p.Waits() || p == order.Closed
		}
		return p != order.Closed
	})
}

// check refuses values that choose nothing, or everything, and makes the query.
func (f *orderFilter) check(now time.Time) error {
	if err := usage.NoneEmpty(f.flags, "state", "phase", "producer", "kind", "outcome", "older-than", "newer-than", "name", "serial", "tracking-id"); err != nil {
		return err
	}
	f.now = now
	f.query = find.Query{
		Producer: f.producer, Kind: entrustbus.Kind(f.kind), Outcome: entrustbus.Outcome(f.outcome),
		Trouble: f.trouble, Name: f.name, TrackingID: f.trackingID,
	}
	if f.phase != "" {
		if !slices.Contains(phases(order.Phases()), f.phase) {
			return usage.Errorf("--phase must be one of %s, is %q", strings.Join(phases(order.Phases()), ", "), f.phase)
		}
		f.query.Phases = []order.Phase{order.Phase(f.phase)}
	}
	if f.state != "" {
		if !slices.Contains(states(), f.state) {
			return usage.Errorf("--state must be open, waiting, in-flight or closed, is %q", f.state)
		}
		if f.phase != "" {
			return usage.Errorf("--state and --phase exclude each other")
		}
		f.query.Phases = phasesOf(f.state)
	}
	if f.kind != "" && !entrustbus.Kind(f.kind).Valid() {
		return usage.Errorf("--kind must be issue, revoke, track or cancel, is %q", f.kind)
	}
	if f.outcome != "" && !entrustbus.Outcome(f.outcome).Valid() {
		return usage.Errorf("--outcome must be issued, revoked, rejected, failed, expired, unconfirmed or cancelled, is %q", f.outcome)
	}
	if f.producer != "" && !entrustbus.ValidToken(f.producer) {
		return usage.Errorf("--producer must be 1 to 64 letters, digits, _ and -, is %q", f.producer)
	}
	if f.serial != "" {
		n, ok := find.Serial(f.serial)
		if !ok {
			return usage.Errorf("--serial must be a serial number in hexadecimal, is %q", f.serial)
		}
		f.query.Serial = n
	}
	ago := func(s usage.Span) (at time.Time) {
		if s > 0 {
			at = now.Add(-time.Duration(s))
		}
		return at
	}
	f.query.Before, f.query.After = ago(f.olderThan), ago(f.newerThan)
	if f.flags.Changed("poll-within") {
		f.query.WakeupBefore = now.Add(time.Duration(f.pollWithin))
	}
	if f.flags.Changed("deadline-within") {
		f.query.DeadlineBefore = now.Add(time.Duration(f.deadlineWithin))
	}
	return nil
}

// searches reports whether the filter asks for what a record does not say, or what a part of
// the bus answers at once.
func (f *orderFilter) searches() bool { return f.name != "" || f.serial != "" }
