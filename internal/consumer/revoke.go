package consumer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// revokeTries is how many answers of unknown fate a revocation gets before an
// operator has to look. At the default schedule that is most of an hour.
const revokeTries = 12

// revoke handles a revocation. It may be repeated: the gateway answers a second
// one like the first. So nothing has to be found out after a death, and no
// lease is needed.
func (w *Worker) revoke(ctx context.Context, d *delivery, o *order, q *entrustbus.Revoke) error {
	serial, err := q.SerialNumber()
	if err != nil {
		return w.refuse(ctx, d, o, err)
	}
	first := w.firstRecord(o, false)
	first.Worker, first.Lease = "", time.Time{}
	verdict, err := w.claim(ctx, d, o, first)
	if err != nil || verdict == settled {
		return err
	}
	r := gateway.Revocation{CAID: q.CAID, Serial: serial, Reason: q.Reason, Comment: q.Comment}
	pause := backoff{first: 200 * time.Millisecond, max: 5 * time.Second}
	for refusals := 0; ; {
		if err := w.gate.pass(ctx, forRevocation); err != nil {
			return err
		}
		begun := time.Now()
		err := w.gw.Revoke(ctx, r)
		edge("revoked")
		w.observe(ctx, "revoke", begun, http.StatusOK, err)
		switch gateway.FateOf(err) {
		case 0:
			o.rec.SubmittedAt, o.rec.Submissions = begun.UTC(), o.rec.Submissions+1
			res := o.result(entrustbus.OutcomeRevoked, &w.cfg)
			res.Serial, res.SerialDecimal = fmt.Sprintf("%x", serial), serial.String()
			return w.finish(ctx, o, res, "", "")
		case gateway.Refused, gateway.NotFound:
			return w.refused(ctx, o, err)
		case gateway.NotAccepted, gateway.Throttled, gateway.Unauthorized:
			if refusals++; refusals >= patience(err) {
				return w.retryRevoke(ctx, o, err)
			}
			if err := sleep(ctx, pause.next()); err != nil {
				return err
			}
		default:
			return w.retryRevoke(ctx, o, err)
		}
	}
}

// retryRevoke hands a revocation back for a while, or ends it as unconfirmed.
func (w *Worker) retryRevoke(ctx context.Context, o *order, why error) error {
	o.rec.Tries++
	if f := gateway.FateOf(why); f == gateway.Unknown || f == gateway.Unreadable {
		o.rec.Unknowns++
	}
	if o.rec.Unknowns > revokeTries {
		res := o.result(entrustbus.OutcomeUnconfirmed, &w.cfg)
		res.Error = &entrustbus.ResultError{Class: entrustbus.ClassNetwork, Code: lostReply, Message: why.Error()}
		if e, ok := errors.AsType[*gateway.Error](why); ok {
			res.Error = resultError(e)
		}
		return w.finish(ctx, o, res, deadletter.Unconfirmed, why.Error())
	}
	wait := w.cfg.Schedule.Wait(o.rec.Tries - 1)
	w.log.WarnContext(ctx, "a revocation is not confirmed; trying again", o.logArgs("attempt", o.rec.Tries, "wait", wait, "err", why)...)
	if err := w.update(ctx, o, "counting a try"); err != nil {
		return err
	}
	return later(wait, why)
}

// patience is how many answers of one fate a message in hand takes before it
// goes back for a while, so that one order which the gateway never takes does
// not keep a slot. Credentials that are refused once more after a probe was not
// are about the order.
func patience(err error) int {
	if gateway.FateOf(err) == gateway.Unauthorized {
		return 2
	}
	return 8
}
