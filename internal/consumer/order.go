package consumer

import (
	"cmp"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// order is one request in hand: what was asked, and what the ledger says of it.
type order struct {
	key         ledger.Key
	replay      int
	kind        entrustbus.Kind
	request     entrustbus.Request // nil where it could not be decoded
	encoding    entrustbus.Encoding
	digest      []byte // of the content
	bytes       []byte // SHA-256 of the body as it came
	raw         *ledger.Request
	requestedAt time.Time
	deaths      int // of earlier generations
	deliveries  uint64
	message     uint64 // sequence of the request in its stream, 0 where a wake-up brought it
	polls       int
	last        bool // woken for the poll at its deadline, by the server's clock
	slotted     bool // brought back by its slot: the message that asked for it is gone

	rec *ledger.Record
}

// result starts the result of the order with what every outcome tells.
func (o *order) result(outcome entrustbus.Outcome, cfg *Config) *entrustbus.Result {
	r := &entrustbus.Result{
		Version: entrustbus.Version, ID: o.key.ID, Producer: o.key.Producer, Kind: o.kind, Outcome: outcome,
		RequestedAt: o.requestedAt, FinishedAt: time.Now().UTC(), Replay: o.replay, Polls: o.polls,
		CAID: cfg.CAID,
	}
	if o.request != nil {
		r.Labels, r.Warnings = o.request.LabelMap(), o.request.Warnings()
		switch q := o.request.(type) {
		case *entrustbus.Issue:
			r.CAID, r.ProfileID = cmp.Or(q.CAID, cfg.CAID), cmp.Or(q.ProfileID, cfg.ProfileID)
		case *entrustbus.Revoke:
			r.CAID = cmp.Or(q.CAID, cfg.CAID)
		case *entrustbus.Track:
			r.CAID, r.TrackingID = cmp.Or(q.CAID, cfg.CAID), q.TrackingID
		case *entrustbus.Cancel:
			r.CAID = ""
		}
	}
	if o.rec != nil {
		r.Submissions, r.PossibleDuplicate = o.rec.Submissions, o.rec.PossibleDuplicate
		r.SubmittedAt = o.rec.SubmittedAt
		r.TrackingID = cmp.Or(o.rec.TrackingID, r.TrackingID)
	}
	return r
}

// letter starts the dead letter of the order.
func (o *order) letter(reason deadletter.Reason, why string) *deadletter.Letter {
	l := &deadletter.Letter{
		Reason: reason, Key: o.key, Kind: o.kind, Replay: o.replay, Error: why,
		Deliveries: int(o.deliveries), Deaths: o.deaths + 1, Time: time.Now().UTC(), Request: *o.raw,
	}
	if o.rec != nil {
		l.TrackingID = o.rec.TrackingID
	}
	return l
}

// logArgs returns the keys that every line about the order carries.
func (o *order) logArgs(more ...any) []any {
	args := []any{"producer", o.key.Producer, "order", o.key.ID, "kind", string(o.kind)}
	if o.replay > 0 {
		args = append(args, "replay", o.replay)
	}
	if o.rec != nil && o.rec.TrackingID != "" {
		args = append(args, "tracking_id", o.rec.TrackingID)
	}
	return append(args, more...)
}

// addressOf returns the order that a message id names, where the id has the
// form that the contract gives it and belongs to producer.
func addressOf(messageID, producer string) (ledger.Key, bool) {
	p, id, ok := strings.Cut(messageID, ".")
	id, _, _ = strings.Cut(id, ".")
	return ledger.Key{Producer: p, ID: id}, ok && p == producer && entrustbus.ValidToken(p) && entrustbus.ValidToken(id)
}
