package dead

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	replays "github.com/entrust-worker/entrust-worker/internal/replay"
)

func replayCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var f letterFlags
	r := replay{rate: usage.Rate{N: 60, Per: time.Minute}}
	cmd := &cobra.Command{
		Use:   "replay [SEQ|ORDER...]",
		Short: "Send dead letters to the workers again",
		Long: `Send dead letters to the workers again: the original bytes and headers, under the next generation number. Name a dead
letter by its number, SEQ. An ORDER, <producer>.<id>, names the newest dead letter of that order. The workers poll an
order that the gateway already has, and never submit it again.

The verb refuses an order that has its certificate, still goes on, or was replayed since the dead letter. It prints why
in one word: already-issued, already-revoked, still-alive, superseded, other-request, by-hand, unknown-subject or cut;
without --force also died-too-often and forgotten. It removes a replayed dead letter, unless --keep. A request that
fails again gets a new dead letter.

The verb sends the first 10 at once and the others at --rate. It stops when the breaker of a call that they need is
open. It also stops when 3 of them, and a tenth of those sent, became dead letters again. It keeps the rest; the same
command continues with it.

Without --yes the verb prints what it would do and refuse, changes nothing, and exits with 0. With --yes the exit code
is 1 if it refused a dead letter or stopped. The audit trail names the operator and keeps the text of --why.`,
		Example: `  entrust-worker dead replay --reason expired --producer web
  entrust-worker dead replay web.4711 --yes --why 'approved by phone'
  entrust-worker dead replay --all --rate 30/min --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := f.filter(args, t.Now())
			if err != nil {
				return err
			}
			if err := f.chosen(args); err != nil {
				return err
			}
			if r.dryRun && r.yes {
				return usage.Errorf("--dry-run excludes --yes")
			}
			r.dryRun = !r.yes
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				r.terminal, r.bus = t, bus
				c, err := choose(ctx, t, bus, filter, f.orders, f.limit, false)
				if err != nil {
					return err
				}
				if len(c.sequences) == 0 {
					return c.end()
				}
				return cmp.Or(r.run(ctx, c), c.end())
			})
		},
	}
	f.add(cmd)
	f.addAll(cmd.Flags())
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "print what a replay would do, and do nothing; the same as leaving out --yes")
	cmd.Flags().BoolVar(&r.yes, "yes", false, "do it, even where a replay may create a second order")
	cmd.Flags().StringVar(&r.why, "why", "", "`text` for the audit trail")
	cmd.Flags().BoolVar(&r.force, "force", false, "also replay what is refused as died-too-often or forgotten")
	cmd.Flags().BoolVar(&r.keep, "keep", false, "keep the dead letters that were replayed")
	cmd.Flags().Var(&r.rate, "rate", "most dead letters in a time, such as 60/min or 5/s; a number alone is per second, 0 is no limit")
	cmd.Flags().BoolVar(&r.json, "json", false, "print one JSON object per line")
	return cmd
}

// replay is one run of the verb.
type replay struct {
	terminal *terminal.Terminal
	bus      *connect.Bus

	dryRun, yes, force, keep, json bool
	rate                           usage.Rate
	why                            string

	brake *brake
	stop  string // why the run stops; in a dry run, why it would not begin
}

// replayed is what is printed of one letter.
type replayed struct {
	letter
	Action     string       `json:"action"` // "replayed", "would replay" or "refused"
	Step       order.Replay `json:"step,omitempty"`
	Generation int          `json:"generation,omitempty"`
	Word       string       `json:"word,omitempty"`
	Why        string       `json:"why,omitempty"`
}

const (
	// takeOut is how many letters are replayed before they are taken out together.
	takeOut = 64
	// burst is how many letters are replayed at once before the rate counts.
	burst = 10
)

// run replays the letters one after the other. It stops at the first that could not be
// published: the next would not be either.
func (r *replay) run(ctx context.Context, c choice) (err error) {
	out := r.terminal.List(r.json, "SEQ", "ORDER", "REASON", "ACTION", "STEP", "GENERATION", "WHY")
	if r.brake, err = newBrake(ctx, r.bus, r.terminal.Now); err != nil {
		return err
	}
	if takes := r.takes(len(c.sequences)); takes != "" && !r.dryRun {
		r.terminal.Notef("replaying %s at %s, which takes at least %s", letters(len(c.sequences)), &r.rate, takes)
	}
	bar := r.terminal.Progress(len(c.sequences), "replaying")
	limiter := rate.NewLimiter(rate.Inf, 1)
	if n := r.rate.PerSecond(); n > 0 && !r.dryRun {
		limiter = rate.NewLimiter(rate.Limit(n), burst)
	}
	box, replayer := box(r.bus), replays.New(r.bus.JS, r.bus.Layout)
	replayer.Operator, replayer.Reason = r.terminal.Operator(), r.why
	var done []uint64
	defer func() {
		bar.End()
		// What was replayed is taken out even where the rest was interrupted.
		err = errors.Join(err, r.takeOut(context.WithoutCancel(ctx), box, done))
		if out.Begun() {
			err = errors.Join(err, out.End())
		}
	}()
	sent, refused := 0, 0
	for l, err := range box.List(ctx, deadletter.Filter{Sequences: c.sequences}) {
		if errors.Is(err, deadletter.ErrNoLetter) {
			r.terminal.Notef("warning: %v: another operator removed it first", err)
			bar.Add(1)
			continue
		}
		if err != nil {
			return err
		}
		row, err := r.one(ctx, replayer, limiter, l)
		if err != nil {
			return err
		}
		if r.stop != "" && !r.dryRun {
			break
		}
		if row.Word == "" {
			sent++
			done = append(done, l.Sequence)
		} else {
			refused++
		}
		if err := out.Add(row, fmt.Sprint(row.Sequence), row.order(), string(row.Reason), row.Action, string(row.Step), count(row.Generation), row.Why); err != nil {
			return err
		}
		bar.Add(1)
		if len(done) == takeOut {
			if err := r.takeOut(ctx, box, done); err != nil {
				return err
			}
			done = done[:0]
		}
	}
	bar.End()
	if err := out.End(); err != nil {
		return err
	}
	verb := "replayed"
	if r.dryRun {
		verb = "would replay"
	}
	r.terminal.Notef("%s %s, refused %d", verb, letters(sent), refused)
	if r.dryRun {
		r.caution(c, sent)
	} else if r.stop != "" {
		return usage.WithHint(fmt.Errorf("stopped with %s left: %s", letters(len(c.sequences)-sent-refused), r.stop), "the same command continues with the rest")
	}
	if refused > 0 && !r.dryRun {
		return usage.Code(usage.Failed)
	}
	return nil
}

// caution says, after a dry run, what cannot be taken back, and how to go ahead.
func (r *replay) caution(c choice, sent int) {
	switch {
	case sent == 0:
		return
	case r.force:
		r.terminal.Notef("warning: --force skips checks: a replay may create a second order")
	case c.doubtful > 0:
		r.terminal.Notef("warning: the gateway may have the order of %s already: a replay may create a second one", letters(c.doubtful))
	}
	if r.stop != "" {
		r.terminal.Notef("warning: nothing would be sent now: %s", r.stop)
	} else if takes := r.takes(sent); takes != "" {
		r.terminal.Notef("at %s, that takes at least %s", &r.rate, takes)
	}
	r.terminal.Notef("nothing was done; pass --yes to replay")
}

// takes is how long n letters take at least, "" for no time worth a word.
func (r *replay) takes(n int) string {
	if d := r.rate.Takes(n, burst); d > 0 {
		return terminal.Span(d)
	}
	return ""
}

// one replays a letter, or says why not.
func (r *replay) one(ctx context.Context, replayer *replays.Replayer, limiter *rate.Limiter, l *deadletter.Letter) (*replayed, error) {
	row := &replayed{letter: newLetter(l), Action: "would replay"}
	step, cancel := r.bus.Step(ctx)
	defer cancel()
	plan, err := replayer.Plan(step, l, r.force)
	if err == nil {
		row.Step, row.Generation, row.Why = plan.Step, plan.Generation, stands(plan)
		if !r.dryRun {
			if err := limiter.Wait(ctx); err != nil {
				return nil, err
			}
		}
		stop, err := r.brake.stops(ctx, plan)
		if r.stop = cmp.Or(r.stop, stop); err != nil || r.stop != "" || r.dryRun {
			return row, err
		}
		row.Action = "replayed"
		publish, cancel := r.bus.Step(ctx)
		defer cancel()
		if err := replayer.Publish(publish, plan); err != nil {
			return nil, err
		}
		r.brake.sent[l.Key] = true
	}
	if refusal, ok := errors.AsType[*replays.Refusal](err); ok {
		row.Action, row.Word, row.Why, err = "refused", refusal.Word, refusal.Error(), nil
	}
	return row, err
}

// takeOut purges letters that were replayed.
func (r *replay) takeOut(ctx context.Context, box *deadletter.Box, done []uint64) error {
	if r.keep || r.dryRun || len(done) == 0 {
		return nil
	}
	ctx, cancel := r.bus.Step(ctx)
	defer cancel()
	_, err := box.Purge(ctx, done...)
	return err
}
