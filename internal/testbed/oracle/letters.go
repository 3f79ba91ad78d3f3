package oracle

import (
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// letterFor returns the reason of the dead letter that belongs to a result, "" for none.
func letterFor(kind entrustbus.Kind, r *entrustbus.Result) order.Reason {
	if r.Error != nil && r.Error.Code == "crashed" {
		return order.Crashed
	}
	switch r.Outcome {
	case entrustbus.OutcomeUnconfirmed:
		return order.Unconfirmed
	case entrustbus.OutcomeExpired:
		return order.Expired
	case entrustbus.OutcomeRejected:
		return order.Rejected
	case entrustbus.OutcomeFailed:
		switch {
		case kind == entrustbus.KindCancel:
			return "" // it came too late or knows no such order: the producer can act on it
		case r.Error != nil && r.Error.Code == "invalid_request":
			return order.Invalid
		case r.Error != nil && r.Error.Code == "wrong_certificate":
			return order.WrongCertificate
		}
		return order.Rejected
	}
	return ""
}

// checkLetters checks that there is exactly one dead letter if an operator can act, and
// none otherwise. If a worker died between an order's dead letter and its result, and the
// order then ended differently, a dead letter remains: that is a note.
func (r *Report) checkLetters(ev *evidence, o *Order, res *entrustbus.Result) {
	want := letterFor(o.Request.Kind(), res)
	count := map[order.Reason]int{}
	for _, l := range ev.letters[o.Key()] {
		count[l.Reason]++
	}
	if count[order.Invalid] < o.Clashes {
		r.find("%s: %d other requests came under its id, and there are %d dead letters", o.ID(), o.Clashes, count[order.Invalid])
	}
	if want != "" && count[want] == 0 {
		r.find("%s ended as %s without a dead letter %s", o.ID(), res.Outcome, want)
	}
	for reason, n := range count {
		most := 1
		if reason == order.Invalid {
			most = max(o.Clashes+o.MaybeClashes, 1)
		}
		if n > most {
			r.find("%s has %d dead letters %s, want at most %d", o.ID(), n, reason, most)
		}
		if reason != want && (reason != order.Invalid || o.Clashes == 0) {
			r.StaleLetters++
			r.note("%s ended as %s and has a dead letter %s of a worker that died", o.ID(), res.Outcome, reason)
		}
	}
}
