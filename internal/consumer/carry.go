package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// refusedError says that the server will never accept the message of a step.
type refusedError struct {
	step order.Step
	err  error
}

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// carry carries out the effects of a decision, in the order of order.Steps. It returns
// ledger.ErrConflict when the record changed since it was read; carry has then done nothing. A
// failpoint stands before and after each effect, as before and after each call.
func (h *handling) carry(ctx context.Context, d *order.Decision) error {
	h.notice(ctx, d)
	stands := d.Stands
	for _, step := range order.Steps() {
		if !d.Has(step) {
			continue
		}
		gone, err := h.rolledBack(ctx)
		if err != nil {
			return err
		}
		if gone {
			return errRolledBack
		}
		failpoint(string(step) + ".before")
		h.doing("step", string(step))
		switch step {
		case order.StepRecord:
			err = h.writeRecord(ctx, *d.Record)
		case order.StepLetter:
			if err = h.publishLetter(ctx, d.Letter); err == nil {
				h.w.refusals.tell(d.Refusal)
			}
		case order.StepResult:
			stands, err = h.publishResult(ctx, d)
		case order.StepAudit:
			err = h.audit(ctx, d.Audit, stands)
		case order.StepClosed:
			err = h.close(ctx, stands)
		case order.StepWakeup:
			if err = h.wakeup(ctx, d, stands); err == nil && d.Wakeup != nil && d.Record == nil && h.cur.Phase == order.Submitting {
				err = h.unchanged(ctx)
			}
		case order.StepSettle:
			h.w.settle(ctx, h.d, d.Settle)
		}
		if err != nil {
			if streams.IsRefused(err) {
				err = &refusedError{step, err}
			}
			return err
		}
		failpoint(string(step) + ".after")
		h.tracedStep(step, d)
	}
	if d.Reconciled != "" {
		h.w.metrics.Reconciled(d.Reconciled)
	}
	return nil
}

// writeRecord writes the next record over the record that the decision was based on.
func (h *handling) writeRecord(ctx context.Context, next order.Record) error {
	write := h.w.ledger.Write(h.key, h.cur, next, h.write)
	h.write = write
	was := h.cur.Phase
	stored, err := persist(ctx, h, "writing a ledger record", write.Try)
	if err == nil || errors.Is(err, ledger.ErrConflict) || streams.IsRefused(err) {
		h.write = nil
	}
	if err != nil {
		return err
	}
	h.cur = stored
	h.cur.At = h.w.now()
	if next.Phase == order.Awaiting && was != order.Awaiting {
		h.w.metrics.Parked()
	}
	return nil
}

func (h *handling) publishLetter(ctx context.Context, l *order.Letter) error {
	letter := &deadletter.Letter{Letter: *l, Time: h.w.now()}
	_, err := persist(ctx, h, "publishing a dead letter", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.w.letters.Put(ctx, letter)
	})
	if err == nil {
		h.w.metrics.DeadLetter(string(l.Reason))
	}
	if streams.IsRefused(err) {
		// Put tried it without the request's headers and body. The result matters more.
		h.w.log.ErrorContext(ctx, "the server refuses every dead letter of this request; the dead letter is lost, the result is still published",
			h.args("reason", string(l.Reason), "subject", l.Request.Subject, "why", l.Why, "err", err)...)
		return nil
	}
	return err
}

// publishResult publishes the result, and returns the result in force: this one, or an earlier
// one. When a stop interrupts it, it writes the end into the record.
func (h *handling) publishResult(ctx context.Context, d *order.Decision) (*entrustbus.Result, error) {
	p, err := h.w.results.Publish(h.key, d.Result)
	if err != nil {
		return nil, err
	}
	repeat := persist[*entrustbus.Result]
	if d.Keep != nil {
		repeat = untilStop[*entrustbus.Result] // the grace time of a stop is for the record
	}
	stands, err := repeat(ctx, h, "publishing a result", func(ctx context.Context) (*entrustbus.Result, error) {
		if err := h.keep(ctx, d.Result.Result); err != nil {
			return nil, err
		}
		return p.Try(ctx)
	})
	if err != nil {
		if d.Keep != nil && !streams.IsRefused(err) {
			kept := h.writeRecord(ctx, *d.Keep)
			if errors.Is(kept, ledger.ErrConflict) {
				return nil, kept // the caller decides again on the present record
			}
			if kept != nil {
				h.w.log.ErrorContext(ctx, "a known outcome could be neither published nor stored",
					h.args("outcome", string(d.Result.Result.Outcome), "serial", d.Result.Result.Serial, "err", kept)...)
			}
		}
		return nil, err
	}
	r := d.Result.Result
	if stands.Outcome != r.Outcome {
		h.w.log.WarnContext(ctx, "an order ended twice; its first result stays in force",
			h.args("outcome", string(stands.Outcome), "late", string(r.Outcome), "serial", r.Serial)...)
	}
	h.w.metrics.Finished(string(r.Kind), string(stands.Outcome), r)
	return stands, nil
}

// close writes that the order is closed. It writes over another writer's record unless that one
// is closed, or of a later generation: the result decides.
//
// It usually does not wait for the write. Losing it delays nothing: the result is published,
// and a worker that reads the record reads the result first. It waits in two cases. A worker
// reads the result of an order that awaits approval only after a redelivery. And a cancellation
// reads its target again.
func (h *handling) close(ctx context.Context, stands *entrustbus.Result) error {
	if h.d != nil && h.cur.NeedsRemains(false) {
		write := h.w.ledger.Write(h.key, h.cur, h.cur.Closed(stands), h.write)
		// A separate handling, since this one continues in parallel.
		again := &handling{w: h.w, key: h.key, cur: h.cur, write: write, called: true}
		if h.w.closes.Send(write, func() { again.closeAgain(ctx, stands) }) {
			h.logClosed(ctx, stands)
			return nil
		}
	}
	return h.closeAndWait(ctx, stands)
}

// closeAgain closes an order whose close was refused or lost. Its message is already
// acknowledged. After a rollback, no other worker would close an order whose result still
// exists.
func (h *handling) closeAgain(ctx context.Context, stands *entrustbus.Result) {
	defer h.release()
	err := h.closeAndWait(h.live(ctx), stands)
	if errors.Is(err, errRolledBack) {
		h.lost = h.w.rollbacks.count()
		if stands, _, err = h.w.results.Last(h.live(ctx), h.key); err == nil && stands != nil {
			err = h.closeAndWait(h.live(ctx), stands)
		}
	}
	if err != nil {
		h.w.log.WarnContext(ctx, "closing an order; the watchdog closes it from its result", h.args("err", err)...)
	}
}

func (h *handling) logClosed(ctx context.Context, stands *entrustbus.Result) {
	args := h.args("outcome", string(stands.Outcome), "polls", stands.Polls)
	if stands.Error != nil {
		args = append(args, "err", stands.Error.Message)
	}
	h.w.log.InfoContext(ctx, "closed", args...)
}

func (h *handling) closeAndWait(ctx context.Context, stands *entrustbus.Result) error {
	for {
		known := h.cur.Record
		err := h.writeRecord(ctx, h.cur.Closed(stands))
		if err == nil {
			h.logClosed(ctx, stands)
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return err
		}
		if gone, err := h.rolledBack(ctx); err != nil || gone {
			return cmp.Or(err, errRolledBack) // the result may be lost too
		}
		if err := h.readRecord(ctx); err != nil {
			return err
		}
		switch {
		case h.cur.Phase == "":
			h.cur.Record = known // the ledger has no record, but the order has one
		case h.cur.Phase == order.Closed || h.cur.Generation > stands.Replay:
			return nil
		}
	}
}

// wakeup schedules the wake-up of a decision, or removes the wake-up of the generation that
// ended. The record may be of a later generation by now, whose wake-up stays.
func (h *handling) wakeup(ctx context.Context, d *order.Decision, ended *entrustbus.Result) error {
	_, err := persist(ctx, h, "scheduling a wake-up", func(ctx context.Context) (struct{}, error) {
		if d.Wakeup != nil {
			return struct{}{}, h.w.wakeups.Schedule(ctx, d.Wakeup)
		}
		return struct{}{}, h.w.wakeups.Cancel(ctx, h.key, ended.Replay)
	})
	if err == nil || d.Wakeup == nil || !streams.IsRefused(err) {
		return err
	}
	// Only the request in the wake-up is large.
	if h.cur.Request == nil {
		// The record keeps the request, except while a worker may be calling for the order. The
		// message stays until then. The error is not wrapped: it does not end the order.
		return later(h.w.cfg.lease(), errors.New(err.Error()))
	}
	w := d.Wakeup.Smaller()
	_, err = persist(ctx, h, "scheduling a wake-up without its request", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.w.wakeups.Schedule(ctx, w)
	})
	return err
}

// unchanged returns ledger.ErrConflict when the record changed since it was read. A wake-up for
// another worker's order lease may have replaced the wake-up that this worker wrote with its
// record. The caller then decides again.
func (h *handling) unchanged(ctx context.Context) error {
	now, err := persist(ctx, h, "reading the record of an order under another worker's lease", func(ctx context.Context) (order.Stored, error) {
		return h.w.ledger.Get(ctx, h.key)
	})
	if err == nil && now.Revision != h.cur.Revision {
		err = ledger.ErrConflict
	}
	return err
}

// persistTry bounds one try of persist.
const persistTry = 5 * time.Second

// persist repeats a write to the bus until it succeeds, while its message stays in flight. The
// gateway may have answered by then, and giving up would turn a known answer into an unknown
// one. A lane whose writes fail fills up and fetches no more, so a full stream stops new work
// by itself. A stop ends persist; after an answer of the gateway, it has a few seconds more.
func persist[T any](ctx context.Context, h *handling, what string, write func(context.Context) (T, error)) (T, error) {
	v, err := untilStop(ctx, h, what, write)
	if live := h.live(ctx); err != nil && ctx.Err() != nil && live != ctx && !final(err) {
		return untilStop(live, h, what, write)
	}
	return v, err
}

// untilStop repeats a write until it succeeds, cannot succeed, or ctx is done.
func untilStop[T any](ctx context.Context, h *handling, what string, write func(context.Context) (T, error)) (T, error) {
	pause := backoff{first: 100 * time.Millisecond, max: 15 * time.Second}
	for {
		try, cancel := context.WithTimeout(ctx, persistTry)
		v, err := write(try)
		cancel()
		if err == nil || final(err) {
			return v, err
		}
		if ctx.Err() != nil {
			return v, fmt.Errorf("%s: %w (last: %v)", what, context.Cause(ctx), err)
		}
		wait := pause.next()
		h.w.log.WarnContext(ctx, what+"; trying again", "trouble", streams.Trouble(err), "wait", wait, "err", err)
		_ = sleep(ctx, wait)
	}
}

// final reports whether repeating a write would get the same answer.
func final(err error) bool {
	return errors.Is(err, ledger.ErrConflict) || streams.IsRefused(err) || errors.Is(err, order.ErrNewerFormat) || errors.Is(err, order.ErrNotARecord)
}

// notice logs the line of a decision.
func (h *handling) notice(ctx context.Context, d *order.Decision) {
	n := d.Notice
	if n.Text == "" {
		return
	}
	level := [...]slog.Level{
		order.Debug: slog.LevelDebug, order.Info: slog.LevelInfo, order.Warn: slog.LevelWarn, order.Error: slog.LevelError,
	}[n.Level]
	if !h.w.log.Enabled(ctx, level) {
		return
	}
	args := h.args()
	if d.Record != nil && d.Record.Phase != h.cur.Phase {
		args = append(args, "next", string(d.Record.Phase))
	}
	if n.Wait > 0 {
		args = append(args, "wait", n.Wait.Round(time.Millisecond))
	}
	if n.Cause != "" {
		args = append(args, "cause", n.Cause)
	}
	h.w.log.Log(ctx, level, n.Text, args...)
}

// args returns the log fields that every line about the order has.
func (h *handling) args(more ...any) []any {
	args := []any{"producer", h.key.Producer, "order", h.key.ID}
	if h.cur.Phase != "" {
		args = append(args, "kind", string(h.cur.Kind), "phase", string(h.cur.Phase))
	}
	if h.cur.Generation > 0 {
		args = append(args, "generation", h.cur.Generation)
	}
	if h.cur.TrackingID != "" {
		args = append(args, "tracking_id", h.cur.TrackingID)
	}
	return append(args, more...)
}
