package consumer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

var errLethal = errors.New("workers died of this message again and again")

// crashed ends a message that killed its workers, without decoding its body:
// that may be what they died of.
func (w *Worker) crashed(ctx context.Context, d *delivery) error {
	header := d.msg.Headers()
	o := &order{
		raw:         &ledger.Request{Subject: d.msg.Subject(), Header: header, Body: d.msg.Data()},
		requestedAt: d.published, deliveries: d.deliveries,
	}
	woken := false
	if slot, err := w.lot.Due(d.msg.Subject(), header, d.msg.Data()); err == nil {
		woken = true
		o.key, o.kind, o.replay, o.raw = slot.Key, slot.Kind, slot.Replay, slot.Request
	} else if o.key.Producer, o.kind, err = w.subjects.ParseRequest(d.msg.Subject()); err == nil {
		if key, ok := addressOf(header.Get(nats.MsgIdHdr), o.key.Producer); ok {
			o.key = key
		}
		o.replay, _ = generationOf(o.raw)
	}
	o.deaths = deathsOf(o.raw)
	w.log.ErrorContext(ctx, "giving up on a message", o.logArgs("subject", d.msg.Subject(), "err", errLethal)...)
	if o.key.ID == "" {
		d.unrecorded = true
		return w.bury(ctx, d, o, deadletter.Crashed, errLethal)
	}
	if enc, err := entrustbus.EncodingOf(o.raw.Get(entrustbus.HeaderContentType), o.raw.Body); err == nil {
		o.encoding = enc
	}
	sum := sha256.Sum256(o.raw.Body)
	rec, err := w.ledger.Get(ctx, o.key)
	switch {
	case errors.Is(err, ledger.ErrNoRecord):
		if o.replay > maxLeap {
			o.replay = 0
		}
		rec = &ledger.Record{State: ledger.Open, Kind: o.kind, Digest: sum[:], Replay: o.replay, RequestedAt: d.published, Message: d.sequence}
		if err := w.ledger.Create(ctx, o.key, rec); err != nil {
			return err
		}
	case err != nil:
		return err
	case o.replay < rec.Replay:
		return nil // that generation ended
	case rec.Kind != o.kind, o.replay > rec.Replay+maxLeap,
		o.replay == rec.Replay && !woken && rec.Message != d.sequence && !bytes.Equal(rec.Digest, sum[:]) &&
			(rec.Request == nil || !bytes.Equal(rec.Request.Body, o.raw.Body)):
		// Another message under the id of this order, which must not end it.
		o.replay = min(o.replay, rec.Replay)
		d.unrecorded = true
		return w.bury(ctx, d, o, deadletter.Crashed, errLethal)
	case o.replay == rec.Replay && rec.State == ledger.Closed:
		return nil // that generation ended
	case o.replay > rec.Replay && (rec.State != ledger.Closed || rec.Outcome == entrustbus.OutcomeIssued || rec.Outcome == entrustbus.OutcomeRevoked):
		return nil // no replay of an order that lives or succeeded is looked at
	}
	o.rec = rec
	outcome := entrustbus.OutcomeFailed
	if rec.Posting || rec.Awaits() || rec.Outcome == entrustbus.OutcomeUnconfirmed ||
		rec.Outcome == entrustbus.OutcomeExpired || rec.Outcome == entrustbus.OutcomeCancelled {
		outcome = entrustbus.OutcomeUnconfirmed // the gateway may have the order
	}
	r := o.result(outcome, &w.cfg)
	r.Error = &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: "crashed", Message: errLethal.Error()}
	return w.finish(ctx, o, r, deadletter.Crashed, errLethal.Error())
}
