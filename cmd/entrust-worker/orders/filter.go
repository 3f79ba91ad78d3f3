package orders

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// orderFilter chooses orders. A zero value chooses all.
type orderFilter struct {
	state, producer, kind, outcome string
	olderThan, newerThan           usage.Span
	pollWithin, deadlineWithin     usage.Span

	flags *pflag.FlagSet
	now   time.Time
}

// add declares the flags that choose among what the ledger says.
func (f *orderFilter) add(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.state, "state", "", "only orders that are `open`, parked or closed")
	flags.StringVar(&f.producer, "producer", "", "only orders of this `producer`")
	flags.StringVar(&f.kind, "kind", "", "only requests to `issue`, revoke, track or cancel")
	flags.StringVar(&f.outcome, "outcome", "", "only closed orders with this `outcome`")
}

// addTimes declares the flags that choose by time.
func (f *orderFilter) addTimes(flags *pflag.FlagSet) {
	flags.Var(&f.olderThan, "older-than", "only orders requested longer ago than this")
	flags.Var(&f.newerThan, "newer-than", "only orders requested since then")
	flags.Var(&f.pollWithin, "poll-within", "only parked orders whose next poll is due within this time")
	flags.Var(&f.deadlineWithin, "deadline-within", "only parked orders whose deadline is within this time")
}

// complete tells shells what the flags take.
func (f *orderFilter) complete(cmd *cobra.Command) {
	usage.Complete(cmd, "state", string(ledger.Open), string(ledger.Parked), string(ledger.Closed))
	usage.Complete(cmd, "kind", kinds()...)
	usage.Complete(cmd, "outcome", "issued", "revoked", "rejected", "failed", "expired", "unconfirmed", "cancelled")
}

func kinds() []string { return []string{"issue", "revoke", "track", "cancel"} }

// check refuses values that choose nothing, or everything.
func (f *orderFilter) check(now time.Time) error {
	if err := usage.NoneEmpty(f.flags, "state", "producer", "kind", "outcome", "older-than", "newer-than"); err != nil {
		return err
	}
	f.now = now
	switch ledger.State(f.state) {
	case "", ledger.Open, ledger.Parked, ledger.Closed:
	default:
		return usage.Errorf("--state must be open, parked or closed, is %q", f.state)
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
func (f *orderFilter) match(r *ledger.Record) bool {
	return (f.state == "" || r.State == ledger.State(f.state)) &&
		(f.producer == "" || r.Key().Producer == f.producer) &&
		(f.kind == "" || r.Kind == entrustbus.Kind(f.kind)) &&
		(f.outcome == "" || r.Outcome == entrustbus.Outcome(f.outcome)) &&
		(f.olderThan == 0 || r.RequestedAt.Before(f.now.Add(-time.Duration(f.olderThan)))) &&
		(f.newerThan == 0 || r.RequestedAt.After(f.now.Add(-time.Duration(f.newerThan)))) &&
		(!f.byPoll() || r.State == ledger.Parked) &&
		(!f.flags.Changed("deadline-within") || r.Awaits() && r.Deadline.Before(f.now.Add(time.Duration(f.deadlineWithin))))
}
