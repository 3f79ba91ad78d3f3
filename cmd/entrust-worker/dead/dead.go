// Package dead is the verbs for dead letters: ls, show, replay and purge.
package dead

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/orders"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Command is the group of verbs.
func Command(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "List and show dead letters, replay them, or purge them",
		Long: `List and show dead letters, replay them, or purge them. A dead letter is a request that needs an operator: its
original bytes, subject and headers, and the reason. Name a dead letter by its number, SEQ. An order, <producer>.<id>
or the id with --producer, names the newest dead letter of that order.

Reasons: undecodable, invalid, denied, rejected, unconfirmed, expired, wrong-certificate, crashed.`,
		Args: cobra.ArbitraryArgs,
		RunE: usage.NeedsVerb,
	}
	cmd.AddCommand(lsCommand(t, dial), showCommand(t, dial), replayCommand(t, dial), purgeCommand(t, dial))
	usage.CompleteNothing(cmd)
	return cmd
}

// box is the dead letters of a bus.
func box(bus *connect.Bus) *deadletter.Box {
	return deadletter.New(bus.JS, bus.Layout.Dead, bus.Subjects)
}

// letterFlags choose dead letters.
type letterFlags struct {
	reasons              []string
	producer, kind, id   string
	olderThan, newerThan usage.Span
	limit                int
	all                  bool
	// orders are named by arguments: the newest letter of each is meant.
	orders []order.Key

	flags *pflag.FlagSet
}

func (f *letterFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.flags = flags
	flags.StringSliceVar(&f.reasons, "reason", nil, "only dead letters with this `reason`; may be repeated")
	flags.StringVar(&f.producer, "producer", "", "only dead letters of this `producer`")
	flags.StringVar(&f.kind, "kind", "", "only requests of this `kind`: issue, revoke, track or cancel")
	flags.StringVar(&f.id, "id", "", "only dead letters of the request with this `id`")
	flags.Var(&f.olderThan, "older-than", "only dead letters older than this")
	flags.Var(&f.newerThan, "newer-than", "only dead letters newer than this")
	flags.IntVar(&f.limit, "limit", 0, "at most this `number` of dead letters; 0 is all")
	usage.Complete(cmd, "reason", reasons()...)
	usage.Complete(cmd, "kind", "issue", "revoke", "track", "cancel")
}

// addAll declares the flag without which a verb that changes something needs a choice.
func (f *letterFlags) addAll(flags *pflag.FlagSet) {
	flags.BoolVar(&f.all, "all", false, "take every dead letter")
}

// filter is the choice of the flags and the numbers in args.
func (f *letterFlags) filter(args []string, now time.Time) (deadletter.Filter, error) {
	filter := deadletter.Filter{Producer: f.producer, Kind: entrustbus.Kind(f.kind), ID: f.id}
	if err := usage.NoneEmpty(f.flags, choosing...); err != nil {
		return filter, err
	}
	for _, r := range f.reasons {
		if !slices.Contains(order.Reasons(), order.Reason(r)) {
			return filter, usage.WithHint(usage.Errorf("unknown reason %q", r), "reasons are %s", strings.Join(reasons(), ", "))
		}
		filter.Reasons = append(filter.Reasons, order.Reason(r))
	}
	if f.producer != "" && !entrustbus.ValidToken(f.producer) {
		return filter, usage.Errorf("--producer must be 1 to 64 letters, digits, _ and -, is %q", f.producer)
	}
	if f.kind != "" && !filter.Kind.Valid() {
		return filter, usage.Errorf("--kind must be issue, revoke, track or cancel, is %q", f.kind)
	}
	if f.limit < 0 {
		return filter, usage.Errorf("--limit must be at least 0, is %d", f.limit)
	}
	if f.olderThan > 0 {
		filter.Before = now.Add(-time.Duration(f.olderThan))
	}
	if f.newerThan > 0 {
		filter.After = now.Add(-time.Duration(f.newerThan))
	}
	for _, arg := range args {
		sequence, ok, err := sequenceOf(arg, f.producer)
		if err != nil {
			return filter, err
		}
		if filter.Sequences == nil {
			filter.Sequences = []uint64{}
		}
		if !ok {
			keys, err := orders.Keys([]string{arg}, f.producer)
			if err != nil {
				return filter, err
			}
			f.orders = append(f.orders, keys[0])
		} else if !slices.Contains(filter.Sequences, sequence) {
			filter.Sequences = append(filter.Sequences, sequence)
		}
	}
	return filter, nil
}

// sequenceOf reads the number of a dead letter. It returns false for the name of an order:
// with a producer, a number is an id.
func sequenceOf(arg, producer string) (uint64, bool, error) {
	sequence, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || producer != "" {
		return 0, false, nil
	}
	if sequence == 0 {
		return 0, false, usage.WithHint(usage.Errorf("dead letters are numbered from 1"), "entrust-worker dead ls shows the numbers; if the number is the id of an order, add --producer")
	}
	return sequence, true, nil
}

// choosing are the flags that choose letters. It is read only.
var choosing = []string{"reason", "producer", "kind", "id", "older-than", "newer-than"}

// chosen refuses to take everything unless that was said.
func (f *letterFlags) chosen(args []string) error {
	some := len(args) > 0
	for _, name := range choosing {
		some = some || f.flags.Changed(name)
	}
	switch {
	case f.all && some:
		return usage.Errorf("--all and a choice of dead letters exclude each other")
	case !f.all && !some:
		return usage.WithHint(usage.Errorf("no dead letters chosen"), "name them by SEQ or by flags, or pass --all")
	}
	return nil
}

func reasons() []string {
	words := make([]string, len(order.Reasons()))
	for i, r := range order.Reasons() {
		words[i] = string(r)
	}
	return words
}

// choice is the dead letters that an operator chose, by number: those that arrive
// meanwhile are not among them.
type choice struct {
	sequences []uint64
	// doubtful counts those whose replay may create a second order.
	doubtful int
	// missed says that a number was given which names no letter, or none of use.
	missed bool
}

// miss reports what is wrong with a number. It holds up no other.
func (c *choice) miss(t *terminal.Terminal, err error) {
	t.Notef("error: %v", err)
	c.missed = true
}

// choose reads the dead letters of a filter once, and none that arrives while it reads. It
// holds eight bytes for each. It reports numbers of letters that are gone, and messages
// that are no letters, and passes over them. With any, a message that is no letter counts
// where its number was given. Of each of the named orders it takes the newest letter.
func choose(ctx context.Context, t *terminal.Terminal, bus *connect.Bus, filter deadletter.Filter, named []order.Key, limit int, any bool) (choice, error) {
	c := choice{sequences: []uint64{}} // not nil, which would be every letter
	box := box(bus)
	step, cancel := bus.Step(ctx)
	newest, err := box.Newest(step)
	cancel()
	if err != nil {
		return c, err
	}
	for _, key := range named {
		l, err := newestOf(ctx, bus, key)
		if errors.Is(err, errNoLetters) {
			c.miss(t, err)
		} else if err != nil {
			return c, err
		} else if !slices.Contains(filter.Sequences, l.Sequence) {
			filter.Sequences = append(filter.Sequences, l.Sequence)
		}
	}
	for l, err := range box.List(ctx, filter) {
		if odd, ok := errors.AsType[*deadletter.UnreadableError](err); ok {
			switch {
			case filter.Sequences == nil:
				t.Notef("warning: %v; skipped", err)
			case any:
				c.sequences = append(c.sequences, odd.Sequence)
			default:
				c.miss(t, err)
			}
			continue
		}
		if errors.Is(err, deadletter.ErrNoLetter) {
			c.miss(t, err)
			continue
		}
		if err != nil {
			return c, err
		}
		if l.Sequence > newest && filter.Sequences == nil {
			break
		}
		c.sequences = append(c.sequences, l.Sequence)
		if l.Kind == entrustbus.KindIssue && doubtful(l) {
			c.doubtful++
		}
		if limit > 0 && len(c.sequences) == limit {
			break
		}
	}
	if len(c.sequences) == 0 && !c.missed {
		t.Notef("no dead letters")
	}
	return c, nil
}

// end is the exit code of a verb that did what it could.
func (c choice) end() error {
	if c.missed {
		return usage.Code(usage.Failed) // each was reported
	}
	return nil
}

// doubtful reports whether the replay of an issue request may be a second order, as
// far as its letter tells. With a tracking id the gateway is asked for an order of
// unknown fate; for one that it took, and that failed, it is not.
func doubtful(l *deadletter.Letter) bool {
	switch l.Reason {
	case order.Unconfirmed, order.Crashed:
		return l.TrackingID == ""
	case order.Invalid, order.Undecodable:
		return l.TrackingID != ""
	}
	return l.Reason == order.WrongCertificate
}

// letters is a number of dead letters in words.
func letters(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}

// letter is what the verbs show of a dead letter.
type letter struct {
	Sequence   uint64          `json:"sequence"`
	Reason     order.Reason    `json:"reason"`
	Producer   string          `json:"producer"`
	ID         string          `json:"id,omitempty"`
	Kind       entrustbus.Kind `json:"kind,omitempty"`
	Replay     int             `json:"replay"`
	TrackingID string          `json:"tracking_id,omitempty"`
	Time       time.Time       `json:"time"`
	Error      string          `json:"error"`
	Subject    string          `json:"subject"`
	Deliveries int             `json:"deliveries"`
	Deaths     int             `json:"deaths"`
	Bytes      int             `json:"bytes"`
}

func newLetter(l *deadletter.Letter) letter {
	return letter{
		Sequence: l.Sequence, Reason: l.Reason, Producer: l.Key.Producer, ID: l.Key.ID, Kind: l.Kind, Replay: l.Generation,
		TrackingID: l.TrackingID, Time: l.Time, Error: l.Why, Subject: l.Request.Subject,
		Deliveries: l.Deliveries, Deaths: l.Deaths, Bytes: len(l.Request.Body),
	}
}

// order names the order of the letter, as far as it has one.
func (l *letter) order() string {
	if l.ID == "" {
		return l.Producer + ".?"
	}
	return l.Producer + "." + l.ID
}
