package main

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

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
)

func deadCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Look at dead letters, replay them, or purge them",
		Long: `Look at dead letters, replay them, or purge them. A dead letter is a request that an operator has to look at:
the original bytes, subject and headers, beside why it ended there. It is named by its number, SEQ.

Reasons: undecodable, invalid, denied, rejected, unconfirmed, expired, wrong-certificate, crashed.`,
		Args: cobra.ArbitraryArgs,
		RunE: needsVerb,
	}
	cmd.AddCommand(deadLsCommand(a), deadShowCommand(a), deadReplayCommand(a), deadPurgeCommand(a))
	completeNothing(cmd)
	return cmd
}

// box is the desk's dead letters.
func (d *desk) box() *deadletter.Box { return deadletter.New(d.js, d.layout.Dead, d.subjects) }

// letterFlags choose dead letters.
type letterFlags struct {
	reasons              []string
	producer, kind, id   string
	olderThan, newerThan spanFlag
	limit                int
	all                  bool

	flags *pflag.FlagSet
}

func (f *letterFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.flags = flags
	flags.StringSliceVar(&f.reasons, "reason", nil, "only letters of this `reason`; may be repeated")
	flags.StringVar(&f.producer, "producer", "", "only letters of this `producer`")
	flags.StringVar(&f.kind, "kind", "", "only requests to `issue`, revoke, track or cancel")
	flags.StringVar(&f.id, "id", "", "only letters of the request with this `id`")
	flags.Var(&f.olderThan, "older-than", "only requests that died longer ago than this")
	flags.Var(&f.newerThan, "newer-than", "only requests that died since then")
	flags.IntVar(&f.limit, "limit", 0, "at most this `number` of letters; 0 is all")
	completeWith(cmd, "reason", reasons()...)
	completeWith(cmd, "kind", kinds()...)
}

// addAll declares the flag without which a verb that changes something needs a choice.
func (f *letterFlags) addAll(flags *pflag.FlagSet) {
	flags.BoolVar(&f.all, "all", false, "take every letter there is")
}

// filter is the choice of the flags and the numbers in args.
func (f *letterFlags) filter(args []string) (deadletter.Filter, error) {
	now := time.Now()
	filter := deadletter.Filter{Producer: f.producer, Kind: entrustbus.Kind(f.kind), ID: f.id}
	if err := noneEmpty(f.flags, choosing...); err != nil {
		return filter, err
	}
	for _, r := range f.reasons {
		if !slices.Contains(deadletter.Reasons(), deadletter.Reason(r)) {
			return filter, withHint(usagef("--reason %q is none", r), "reasons are %s", strings.Join(reasons(), ", "))
		}
		filter.Reasons = append(filter.Reasons, deadletter.Reason(r))
	}
	if f.producer != "" && !entrustbus.ValidToken(f.producer) {
		return filter, usagef("--producer must be 1 to 64 letters, digits, _ and -, is %q", f.producer)
	}
	if f.kind != "" && !filter.Kind.Valid() {
		return filter, usagef("--kind must be issue, revoke, track or cancel, is %q", f.kind)
	}
	if f.limit < 0 {
		return filter, usagef("--limit must be at least 0, is %d", f.limit)
	}
	if f.olderThan > 0 {
		filter.Before = now.Add(-time.Duration(f.olderThan))
	}
	if f.newerThan > 0 {
		filter.After = now.Add(-time.Duration(f.newerThan))
	}
	for _, arg := range args {
		sequence, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || sequence == 0 {
			return filter, withHint(usagef("%q is not the number of a letter", plain(arg)), "--id chooses by the id of the request")
		}
		if !slices.Contains(filter.Sequences, sequence) {
			filter.Sequences = append(filter.Sequences, sequence)
		}
	}
	return filter, nil
}

// choosing are the flags that choose letters. It is read only.
var choosing = []string{"reason", "producer", "kind", "id", "older-than", "newer-than"}

// noneEmpty refuses flags that are given without a value, as by a variable that is not
// set: they would choose everything.
func noneEmpty(flags *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		f := flags.Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		switch _, span := f.Value.(*spanFlag); {
		case span && f.Value.String() == "":
			return usagef("--%s must be more than 0", name)
		case f.Value.String() == "" || f.Value.String() == "[]":
			return usagef("--%s must not be empty", name)
		}
	}
	return nil
}

// chosen refuses to take everything unless that was said.
func (f *letterFlags) chosen(args []string) error {
	some := len(args) > 0
	for _, name := range choosing {
		some = some || f.flags.Changed(name)
	}
	switch {
	case f.all && some:
		return usagef("--all and a choice of letters exclude each other")
	case !f.all && !some:
		return withHint(usagef("no letters chosen"), "name them by SEQ or by flags, or say --all")
	}
	return nil
}

func reasons() []string {
	words := make([]string, len(deadletter.Reasons()))
	for i, r := range deadletter.Reasons() {
		words[i] = string(r)
	}
	return words
}

// choice is the letters that somebody decided about, by number: those that die
// meanwhile are not among them.
type choice struct {
	sequences []uint64
	// doubtful counts those whose replay may create a second order.
	doubtful int
	// missed says that a number was given which names no letter, or none of use.
	missed bool
}

// miss tells what is wrong with a number. The others are not held up by it.
func (c *choice) miss(a *app, err error) {
	fmt.Fprintf(a.err, "error: %v\n", err)
	c.missed = true
}

// choose reads the letters of a filter once, and none that dies while it reads. It holds
// eight bytes for each. Numbers of letters that are gone are told, and passed over; so is
// what is no letter, unless any is wanted and it was named by number.
func (a *app) choose(ctx context.Context, d *desk, filter deadletter.Filter, limit int, any bool) (choice, error) {
	c := choice{sequences: []uint64{}} // not nil, which would be every letter
	box := d.box()
	step, cancel := d.step(ctx)
	newest, err := box.Newest(step)
	cancel()
	if err != nil {
		return c, err
	}
	for l, err := range box.List(ctx, filter) {
		if odd, ok := errors.AsType[*deadletter.UnreadableError](err); ok {
			switch {
			case filter.Sequences == nil:
				fmt.Fprintf(a.err, "warning: %v; passed over\n", err)
			case any:
				c.sequences = append(c.sequences, odd.Sequence)
			default:
				c.miss(a, err)
			}
			continue
		}
		if errors.Is(err, deadletter.ErrNoLetter) {
			c.miss(a, err)
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
		fmt.Fprintln(a.err, "no dead letters")
	}
	return c, nil
}

// end is the exit code of a verb that did what it could.
func (c choice) end() error {
	if c.missed {
		return codeError(exitFailure) // each was told
	}
	return nil
}

// doubtful reports whether the replay of an issue request may be a second order, as
// far as its letter tells. With a tracking id the gateway is asked for an order of
// unknown fate; for one that it took, and that failed, it is not.
func doubtful(l *deadletter.Letter) bool {
	switch l.Reason {
	case deadletter.Unconfirmed, deadletter.Crashed:
		return l.TrackingID == ""
	case deadletter.Invalid, deadletter.Undecodable:
		return l.TrackingID != ""
	}
	return l.Reason == deadletter.WrongCertificate
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
	Sequence   uint64            `json:"sequence"`
	Reason     deadletter.Reason `json:"reason"`
	Producer   string            `json:"producer"`
	ID         string            `json:"id,omitempty"`
	Kind       entrustbus.Kind   `json:"kind,omitempty"`
	Replay     int               `json:"replay"`
	TrackingID string            `json:"tracking_id,omitempty"`
	Time       time.Time         `json:"time"`
	Error      string            `json:"error"`
	Subject    string            `json:"subject"`
	Deliveries int               `json:"deliveries"`
	Deaths     int               `json:"deaths"`
	Bytes      int               `json:"bytes"`
}

func newLetter(l *deadletter.Letter) letter {
	return letter{
		Sequence: l.Sequence, Reason: l.Reason, Producer: l.Key.Producer, ID: l.Key.ID, Kind: l.Kind, Replay: l.Replay,
		TrackingID: l.TrackingID, Time: l.Time, Error: l.Error, Subject: l.Request.Subject,
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
