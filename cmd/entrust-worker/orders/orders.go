package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

func ordersCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "orders",
		Short: "Show orders, ask for one now, or stop waiting for one",
		Long: `Show what the ledger knows of orders, ask the gateway for a parked one now, or stop waiting for it.

An order is named <producer>.<id>, or by its id with --producer. States: open (a worker has it in hand),
parked (it waits for approval), closed (its result is published).`,
		Args: cobra.ArbitraryArgs,
		RunE: needsVerb,
	}
	cmd.AddCommand(ordersLsCommand(a), ordersShowCommand(a), ordersWatchCommand(a), ordersPollCommand(a), ordersCancelCommand(a))
	completeNothing(cmd)
	return cmd
}

// needsVerb is what a group of verbs does by itself.
func needsVerb(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownVerb(cmd, args[0])
	}
	return withHint(usagef("%s: no verb given", cmd.CommandPath()), "%s --help", cmd.CommandPath())
}

// orderKeys reads the names of orders. Names without a producer are the producer's.
func orderKeys(args []string, producer string) ([]ledger.Key, error) {
	keys := make([]ledger.Key, len(args))
	for i, arg := range args {
		name := arg
		if !strings.Contains(arg, ".") {
			if producer == "" {
				return nil, withHint(usagef("order %q names no producer", plain(arg)), "write <producer>.%s, or add --producer", plain(arg))
			}
			name = producer + "." + arg
		}
		key, err := ledger.ParseKey(name)
		if err != nil {
			return nil, &usageError{err}
		}
		if producer != "" && key.Producer != producer {
			return nil, usagef("order %s and --producer %s disagree", key, producer)
		}
		keys[i] = key
	}
	return keys, nil
}

// orderFilter chooses orders. A zero value chooses all.
type orderFilter struct {
	state, producer, kind, outcome string
	olderThan, newerThan           spanFlag
	pollWithin, deadlineWithin     spanFlag

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
	completeWith(cmd, "state", string(ledger.Open), string(ledger.Parked), string(ledger.Closed))
	completeWith(cmd, "kind", kinds()...)
	completeWith(cmd, "outcome", "issued", "revoked", "rejected", "failed", "expired", "unconfirmed", "cancelled")
}

// completeWith tells shells the words that a flag takes.
func completeWith(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("entrust-worker: " + err.Error()) // no such flag
	}
}

// completeNothing keeps shells from offering files where the verbs of a group take names.
func completeNothing(group *cobra.Command) {
	for _, cmd := range group.Commands() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

func kinds() []string { return []string{"issue", "revoke", "track", "cancel"} }

// check refuses values that choose nothing, or everything.
func (f *orderFilter) check() error {
	if err := noneEmpty(f.flags, "state", "producer", "kind", "outcome", "older-than", "newer-than"); err != nil {
		return err
	}
	f.now = time.Now()
	switch ledger.State(f.state) {
	case "", ledger.Open, ledger.Parked, ledger.Closed:
	default:
		return usagef("--state must be open, parked or closed, is %q", f.state)
	}
	if f.kind != "" && !entrustbus.Kind(f.kind).Valid() {
		return usagef("--kind must be issue, revoke, track or cancel, is %q", f.kind)
	}
	if f.outcome != "" && !entrustbus.Outcome(f.outcome).Valid() {
		return usagef("--outcome must be issued, revoked, rejected, failed, expired, unconfirmed or cancelled, is %q", f.outcome)
	}
	if f.producer != "" && !entrustbus.ValidToken(f.producer) {
		return usagef("--producer must be 1 to 64 letters, digits, _ and -, is %q", f.producer)
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

// order is what the verbs show of an order.
type order struct {
	Producer          string             `json:"producer"`
	ID                string             `json:"id"`
	Kind              entrustbus.Kind    `json:"kind"`
	State             ledger.State       `json:"state"`
	Outcome           entrustbus.Outcome `json:"outcome,omitempty"`
	Replay            int                `json:"replay"`
	RequestedAt       time.Time          `json:"requested_at,omitzero"`
	SubmittedAt       time.Time          `json:"submitted_at,omitzero"`
	UpdatedAt         time.Time          `json:"updated_at,omitzero"`
	Deadline          time.Time          `json:"deadline,omitzero"`
	NextPoll          time.Time          `json:"next_poll,omitzero"`
	Polls             int                `json:"polls,omitempty"`
	TrackingID        string             `json:"tracking_id,omitempty"`
	CAID              string             `json:"ca_id,omitempty"`
	Serial            string             `json:"serial,omitempty"`
	Submissions       int                `json:"submissions"`
	PossibleDuplicate bool               `json:"possible_duplicate"`
	// Posting: a call that may create something is under way, or its end was not seen.
	Posting bool      `json:"posting,omitempty"`
	Worker  string    `json:"worker,omitempty"`
	Lease   time.Time `json:"lease,omitzero"`
}

func newOrder(r *ledger.Record) *order {
	o := &order{
		Producer: r.Key().Producer, ID: r.Key().ID, Kind: r.Kind, State: r.State, Outcome: r.Outcome, Replay: r.Replay,
		RequestedAt: r.RequestedAt, SubmittedAt: r.SubmittedAt, UpdatedAt: r.UpdatedAt,
		TrackingID: r.TrackingID, CAID: r.CAID, Serial: r.Serial,
		Submissions: r.Submissions, PossibleDuplicate: r.PossibleDuplicate,
		Posting: r.Posting, Worker: r.Worker, Lease: r.Lease,
	}
	if r.State == ledger.Parked {
		o.Deadline = r.Deadline
	}
	return o
}
