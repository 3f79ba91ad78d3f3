package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// verdict is what the ledger says a delivery of a request should do.
type verdict int

const (
	settled     verdict = iota // nothing: the order is done, parked, or another's
	fresh                      // work on it: nobody has called the gateway for it
	unconfirmed                // somebody may have: find out first
	resume                     // a replay of an order that the gateway already has: wait for it again
)

var errLeased = errors.New("another worker holds the order")

// claim makes the order ours, or says what its record says. first is the record
// that a new order begins with; the common case is one compare-and-set and no
// read. When it returns fresh, unconfirmed or resume, o.rec is the record in
// force.
func (w *Worker) claim(ctx context.Context, d *delivery, o *order, first *ledger.Record) (verdict, error) {
	if d.deliveries < 2 {
		return w.open(ctx, d, o, first)
	}
	lost, err := w.remember(ctx, d, o)
	if err != nil {
		return settled, err
	}
	v, err := w.open(ctx, d, o, first)
	if lost && first.Posting && v == fresh && err == nil {
		return settled, w.doubt(ctx, d, o)
	}
	return v, err
}

// open creates the record of an order, or does what the one says that is there.
func (w *Worker) open(ctx context.Context, d *delivery, o *order, first *ledger.Record) (verdict, error) {
	err := w.persist(ctx, "opening a ledger record", func(ctx context.Context) error {
		return w.ledger.Create(ctx, o.key, first)
	})
	if err == nil {
		edge("opened")
		o.rec = first
		return fresh, nil
	}
	if !errors.Is(err, ledger.ErrConflict) {
		o.rec, first.Posting = first, false
		return settled, w.orRelease(ctx, o, err)
	}
	rec, err := w.ledger.Get(ctx, o.key)
	if err != nil {
		return settled, err
	}
	o.rec = rec
	// The bytes are what a record knows of a request that nobody could, or
	// dared to, decode when it was written.
	if rec.Kind != o.kind || !(bytes.Equal(rec.Digest, o.digest) || bytes.Equal(rec.Digest, o.bytes)) {
		return settled, w.disown(ctx, d, o)
	}
	switch {
	case o.replay < rec.Replay:
		return settled, nil // a later generation is in force
	case o.replay > rec.Replay:
		return w.reopen(ctx, o, first)
	}
	switch rec.State {
	case ledger.Closed:
		return settled, nil
	case ledger.Parked:
		return settled, w.rearm(ctx, o)
	}
	return w.takeOver(ctx, o, first)
}

// takeOver goes on with an order that somebody left open.
func (w *Worker) takeOver(ctx context.Context, o *order, first *ledger.Record) (verdict, error) {
	if done, err := w.published(ctx, o); err != nil || done {
		return settled, err
	}
	now := time.Now()
	if o.rec.LeaseLive(now) {
		return settled, later(o.rec.Lease.Sub(now), errLeased)
	}
	if o.rec.Posting {
		// Nobody else may look into it at the same time.
		o.rec.State, o.rec.Worker, o.rec.Lease, o.rec.Message = ledger.Open, w.id, first.Lease, first.Message
		if err := w.update(ctx, o, "taking over an order"); err != nil {
			return settled, err
		}
		return unconfirmed, nil
	}
	return fresh, w.begin(ctx, o, first)
}

// begin writes that the call of first is about to be made.
func (w *Worker) begin(ctx context.Context, o *order, first *ledger.Record) error {
	o.rec.State, o.rec.Worker, o.rec.Lease = ledger.Open, first.Worker, first.Lease
	o.rec.Posting, o.rec.SubmittedAt, o.rec.Submissions = first.Posting, first.SubmittedAt, max(o.rec.Submissions, first.Submissions)
	o.rec.FateCode, o.rec.FateWhy = "", ""
	o.rec.Message = first.Message
	if !o.slotted {
		o.rec.Request = nil
	}
	err := w.update(ctx, o, "opening a ledger record again")
	if err != nil {
		o.rec.Posting = false // no call was made
	}
	return w.orRelease(ctx, o, err)
}

// reopen begins a new generation of a closed order.
func (w *Worker) reopen(ctx context.Context, o *order, first *ledger.Record) (verdict, error) {
	rec := o.rec
	if rec.State != ledger.Closed {
		w.log.WarnContext(ctx, "ignoring a replay of an order that still lives", o.logArgs("state", string(rec.State))...)
		return settled, nil
	}
	if rec.Outcome == entrustbus.OutcomeIssued || rec.Outcome == entrustbus.OutcomeRevoked {
		w.log.WarnContext(ctx, "ignoring a replay of an order that succeeded", o.logArgs("outcome", string(rec.Outcome))...)
		return settled, nil
	}
	// Where the gateway may have the order and nothing can be asked for, this
	// submission may be the second: the operator who replayed it decided so.
	duplicate := rec.Doubtful()
	follow := rec.TrackingID != "" && o.kind == entrustbus.KindIssue && (rec.Outcome == entrustbus.OutcomeUnconfirmed ||
		rec.Outcome == entrustbus.OutcomeExpired || rec.Outcome == entrustbus.OutcomeCancelled)
	rec.Replay, rec.RequestedAt, rec.Outcome, rec.Serial, rec.Tries, rec.Unknowns, rec.Answer = o.replay, o.requestedAt, "", "", 0, 0, nil
	rec.Message = first.Message
	if follow {
		// The gateway has the order: it is asked for, never submitted again.
		return resume, nil
	}
	rec.TrackingID, rec.Submissions = "", 0
	rec.PossibleDuplicate = rec.PossibleDuplicate || duplicate // an earlier one stays possible
	return fresh, w.begin(ctx, o, first)
}

// rearm gives a parked order its slot back where a death between the two writes
// left it without one.
func (w *Worker) rearm(ctx context.Context, o *order) error {
	armed, err := w.lot.Armed(ctx, o.key, o.rec.Replay)
	if err != nil || armed {
		return err
	}
	return w.arm(ctx, o, 0, 0)
}

// disown ends a request whose id belongs to another one. The first one's result
// stands, so this one gets a dead letter only.
func (w *Worker) disown(ctx context.Context, d *delivery, o *order) error {
	why := &entrustbus.FieldError{
		Field: "id", Problem: fmt.Sprintf("was used before, by another %s request", o.rec.Kind),
		Fix: "send every request under an id of its own",
	}
	w.log.WarnContext(ctx, "refusing a request", o.logArgs("reason", string(deadletter.Invalid), "err", why)...)
	o.rec = nil
	d.unrecorded = true
	return w.bury(ctx, d, o, deadletter.Invalid, why)
}

// update writes the order's record, however long that takes.
func (w *Worker) update(ctx context.Context, o *order, what string) error {
	return w.persist(ctx, what, func(ctx context.Context) error { return w.ledger.Update(ctx, o.rec) })
}

// firstRecord is how the record of an order begins that is about to be worked
// on. posting says that the call may create something.
func (w *Worker) firstRecord(o *order, posting bool) *ledger.Record {
	now := time.Now().UTC()
	r := &ledger.Record{
		State: ledger.Open, Kind: o.kind, Digest: o.digest, Replay: o.replay, RequestedAt: o.requestedAt,
		Message: o.message, Worker: w.id, Lease: now.Add(w.cfg.lease()), Posting: posting,
	}
	r.CAID = caOf(o.request)
	if posting {
		r.SubmittedAt, r.Submissions = now, 1
	}
	return r
}
