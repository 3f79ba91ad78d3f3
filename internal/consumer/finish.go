package consumer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// finish ends an order: the dead letter where there is one (and before it the
// answer, where nothing else would remember it), then the result, then the
// ledger, then the slot. A death in between repeats the steps before
// it, and each of them knows itself again: the letter by its message id, the
// result by compare-and-set on its subject, the record by its state.
func (w *Worker) finish(ctx context.Context, o *order, r *entrustbus.Result, reason deadletter.Reason, why string) error {
	waited := o.rec != nil && o.rec.Slotted()
	if reason != "" || w.cfg.OnLostReply == Resubmit {
		if err := w.keep(ctx, o, r); err != nil {
			return w.keepAnswer(ctx, o, r, err)
		}
	}
	if reason != "" {
		letter := o.letter(reason, why)
		id := entrustbus.ResultMsgID(o.key.Producer, o.key.ID, o.replay) + "." + string(reason)
		if err := w.persist(ctx, "publishing a dead letter", func(ctx context.Context) error {
			return w.dead.Put(ctx, letter, id)
		}); err != nil {
			return w.keepAnswer(ctx, o, r, err)
		}
		w.metrics.deadLetter(string(reason))
		edge("letter")
	}
	stands, err := w.publish(ctx, o, r)
	if err != nil {
		return w.keepAnswer(ctx, o, r, err)
	}
	edge("published")
	if stands.Outcome != r.Outcome {
		w.log.WarnContext(ctx, "an order ended twice; its first result stands",
			o.logArgs("outcome", string(stands.Outcome), "late", string(r.Outcome), "serial", r.Serial)...)
	}
	if err := w.close(ctx, o, stands); err != nil {
		return err
	}
	edge("closed")
	if waited {
		if err := w.persist(ctx, "removing a slot", func(ctx context.Context) error { return w.lot.Disarm(ctx, o.key, o.replay) }); err != nil {
			return err
		}
		edge("disarmed")
	}
	args := o.logArgs("outcome", string(stands.Outcome), "attempt", r.Polls)
	if r.Error != nil {
		args = append(args, "err", r.Error.Message)
	}
	w.log.InfoContext(ctx, "closed", args...)
	w.metrics.finished(string(o.kind), string(stands.Outcome), r)
	return nil
}

// publish puts the result on its subject and returns the one that stands there:
// r, or an earlier one of the same or a later generation. The subject is
// written by compare-and-set, which holds for as long as the stream keeps its
// messages; the message id alone would hold for the duplicate window only.
func (w *Worker) publish(ctx context.Context, o *order, r *entrustbus.Result) (*entrustbus.Result, error) {
	body, err := entrustbus.EncodeResult(o.encoding, r)
	if err != nil {
		return nil, fmt.Errorf("encoding the result of %s: %w", o.key, err)
	}
	subject := w.subjects.Result(o.key.Producer, o.key.ID)
	header := nats.Header{
		nats.MsgIdHdr:                {entrustbus.ResultMsgID(o.key.Producer, o.key.ID, r.Replay)},
		entrustbus.HeaderContentType: {o.encoding.ContentType()},
		entrustbus.HeaderOrderID:     {o.key.ID},
		entrustbus.HeaderKind:        {string(o.kind)},
		entrustbus.HeaderReplay:      {strconv.Itoa(r.Replay)},
	}
	for _, name := range []string{entrustbus.HeaderTraceParent, entrustbus.HeaderTraceState} {
		if v := o.raw.Get(name); v != "" {
			header[name] = []string{v}
		}
	}
	stands, expected, known := r, uint64(0), r.Replay == 0
	err = w.persist(ctx, "publishing a result", func(ctx context.Context) error {
		if !known {
			last, seq, err := w.lastResult(ctx, o.key)
			if err != nil {
				return err
			}
			if last != nil && last.Replay >= r.Replay {
				stands = last
				return nil
			}
			expected, known = seq, true
		}
		ack, err := w.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: header, Data: body},
			jetstream.WithExpectLastSequencePerSubject(expected), jetstream.WithExpectStream(w.cfg.Layout.Results))
		if err != nil || ack.Duplicate {
			// Another result may stand there, or our own, whose ack was lost.
			known = false
		}
		if err == nil && ack.Duplicate {
			return errors.New("a result of this generation was published before; reading it")
		}
		return err
	})
	return stands, err
}

// lastResult reads the newest result of an order from the leader of the result
// stream, nil where there is none.
func (w *Worker) lastResult(ctx context.Context, key ledger.Key) (*entrustbus.Result, uint64, error) {
	m, err := streams.Last(ctx, w.js, w.cfg.Layout.Results, w.subjects.Result(key.Producer, key.ID))
	if errors.Is(err, streams.ErrNoMessage) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the result of %s: %w", key, err)
	}
	r, err := entrustbus.DecodeResult(enc, m.Data)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the result of %s: %w", key, err)
	}
	return r, m.Sequence, nil
}

// close writes the order's last record. A conflict is looked at: whoever closed
// it first wrote the same.
func (w *Worker) close(ctx context.Context, o *order, r *entrustbus.Result) error {
	for {
		rec := o.rec
		rec.State, rec.Outcome, rec.Serial, rec.Replay = ledger.Closed, r.Outcome, r.Serial, r.Replay
		rec.TrackingID = r.TrackingID
		rec.Worker, rec.Lease, rec.Posting, rec.Request, rec.Answer = "", time.Time{}, false, nil, nil
		rec.FateCode, rec.FateWhy = "", ""
		err := w.update(ctx, o, "closing an order")
		if !errors.Is(err, ledger.ErrConflict) {
			return err
		}
		now, err := w.ledger.Get(ctx, o.key)
		if err != nil {
			return err
		}
		if now.State == ledger.Closed || now.Replay > r.Replay {
			return nil
		}
		o.rec = now
	}
}

// published ends an open order whose result is there already, or was kept
// because it could not be published.
func (w *Worker) published(ctx context.Context, o *order) (bool, error) {
	r, _, err := w.lastResult(ctx, o.key)
	if err != nil {
		return false, err
	}
	if r != nil && r.Replay >= o.replay {
		return true, w.close(ctx, o, r)
	}
	if len(o.rec.Answer) == 0 {
		return false, nil
	}
	kept, err := entrustbus.DecodeResult(entrustbus.EncodingMsgpack, o.rec.Answer)
	if err != nil {
		return false, fmt.Errorf("reading the kept result of %s: %w", o.key, err)
	}
	reason, why := reasonOf(kept)
	return true, w.finish(ctx, o, kept, reason, why)
}

// keep writes the end of an order into the ledger before anything is published.
// With a dead letter, a death between letter and result would make an order of
// unknown fate of it, with a second letter that says so. Where others submit an
// order again, a result that was under way for longer than the lease would stand
// before theirs, and not admit the second submission: whoever took the order over
// makes this write fail.
func (w *Worker) keep(ctx context.Context, o *order, r *entrustbus.Result) error {
	if o.rec == nil || o.rec.State != ledger.Open || !o.rec.Posting || len(o.rec.Answer) > 0 {
		return nil
	}
	var err error
	if o.rec.Answer, err = entrustbus.EncodeResult(entrustbus.EncodingMsgpack, r); err != nil {
		return fmt.Errorf("encoding the result of %s: %w", o.key, err)
	}
	if err := w.update(ctx, o, "keeping the end of an order"); err != nil {
		return err
	}
	edge("kept")
	return nil
}

// keepAnswer writes a result into the ledger that a stop kept from being
// published, so that the gateway's answer is not lost with this process. It
// returns why.
func (w *Worker) keepAnswer(ctx context.Context, o *order, r *entrustbus.Result, why error) error {
	if o.rec == nil || o.rec.State != ledger.Open {
		return why // a parked order is simply polled again
	}
	var err error
	if o.rec.Answer, err = entrustbus.EncodeResult(entrustbus.EncodingMsgpack, r); err != nil {
		return errors.Join(why, err)
	}
	o.rec.Worker, o.rec.Lease = "", time.Time{}
	if err := w.lastUpdate(ctx, o); err != nil {
		w.log.ErrorContext(ctx, "a known outcome could be neither published nor kept", o.logArgs("outcome", string(r.Outcome), "serial", r.Serial, "err", err)...)
	}
	return why
}

// reasonOf returns the dead letter that belongs to a result, "" for none.
func reasonOf(r *entrustbus.Result) (deadletter.Reason, string) {
	why := ""
	if r.Error != nil {
		why = r.Error.Message
	}
	switch r.Outcome {
	case entrustbus.OutcomeRejected:
		return deadletter.Rejected, why
	case entrustbus.OutcomeExpired:
		return deadletter.Expired, why
	case entrustbus.OutcomeUnconfirmed:
		return deadletter.Unconfirmed, why
	case entrustbus.OutcomeFailed:
		switch {
		case r.Error != nil && r.Error.Code == "wrong_certificate":
			return deadletter.WrongCertificate, why
		case r.Error != nil && r.Error.Code == "invalid_request":
			return deadletter.Invalid, why
		}
		return deadletter.Rejected, why
	}
	return "", ""
}
