package orders

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// orderFilter chooses orders. A zero value chooses all.
type orderFilter struct {
	phase, producer, kind, outcome string
	olderThan, newerThan           usage.Span
	pollWithin, deadlineWithin     usage.Span

	flags *pflag.FlagSet
	now   time.Time
}

// add declares the flags that choose among what the ledger says.
func (f *orderFilter) add(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.phase, "phase", "", "only orders in this `phase`: submitting, unaccepted, indeterminate, awaiting, concluded or closed")
	flags.StringVar(&f.producer, "producer", "", "only orders of this `producer`")
	flags.StringVar(&f.kind, "kind", "", "only requests of this `kind`: issue, revoke, track or cancel")
	flags.StringVar(&f.outcome, "outcome", "", "only closed orders with this `outcome`")
}

// addTimes declares the flags that choose by time.
func (f *orderFilter) addTimes(flags *pflag.FlagSet) {
	flags.Var(&f.olderThan, "older-than", "only orders requested longer ago than this")
	flags.Var(&f.newerThan, "newer-than", "only orders requested since then")
	flags.Var(&f.pollWithin, "poll-within", "only waiting orders whose next wake-up is due within this time")
	flags.Var(&f.deadlineWithin, "deadline-within", "only awaiting orders whose deadline is within this time")
}

// complete tells shells what the flags take.
func (f *orderFilter) complete(cmd *cobra.Command) {
	usage.Complete(cmd, "phase", phases()...)
	usage.Complete(cmd, "kind", kinds()...)
	usage.Complete(cmd, "outcome", "issued", "revoked", "rejected", "failed", "expired", "unconfirmed", "cancelled")
}

func phases() (names []string) {
	for _, p := range order.Phases() {
		names = append(names, string(p))
	}
	return names
}

func kinds() []string { return []string{"issue", "revoke", "track", "cancel"} }

// check refuses values that choose nothing, or everything.
func (f *orderFilter) check(now time.Time) error {
	if err := usage.NoneEmpty(f.flags, "phase", "producer", "kind", "outcome", "older-than", "newer-than"); err != nil {
		return err
	}
	f.now = now
	if f.phase != "" && !slices.Contains(phases(), f.phase) {
		return usage.Errorf("--phase must be one of %s, is %q", strings.Join(phases(), ", "), f.phase)
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
	return nil
}

// byPoll says that the filter has to know when an order is polled next.
func (f *orderFilter) byPoll() bool { return f.flags.Changed("poll-within") }

// match reports whether the record alone lets the order through.
func (f *orderFilter) match(key order.Key, r order.Record) bool {
	return (f.phase == "" || r.Phase == order.Phase(f.phase)) &&
		(f.producer == "" || key.Producer == f.producer) &&
		(f.kind == "" || r.Kind == entrustbus.Kind(f.kind)) &&
		(f.outcome == "" || r.Outcome == entrustbus.Outcome(f.outcome)) &&
		(f.olderThan == 0 || r.RequestedAt.Before(f.now.Add(-time.Duration(f.olderThan)))) &&
		(f.newerThan == 0 || r.RequestedAt.After(f.now.Add(-time.Duration(f.newerThan)))) &&
		(!f.byPoll() || r.Phase.Waits()) &&
		(!f.flags.Changed("deadline-within") || r.Phase == order.Awaiting && r.Deadline.Before(f.now.Add(time.Duration(f.deadlineWithin))))
}
