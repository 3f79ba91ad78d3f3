package consumer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// request handles a message of the request stream, of any kind.
func (w *Worker) request(ctx context.Context, d *delivery) error {
	o, err := w.decode(d)
	w.metrics.request(string(o.kind))
	if o.replay > 0 && o.key.ID != "" {
		if refused, err := w.refuseLeap(ctx, d, o); refused || err != nil {
			return err
		}
	}
	if err != nil {
		return w.refuse(ctx, d, o, err)
	}
	switch q := o.request.(type) {
	case *entrustbus.Issue:
		return w.issue(ctx, d, o, q)
	case *entrustbus.Revoke:
		return w.revoke(ctx, d, o, q)
	case *entrustbus.Track:
		return w.track(ctx, d, o, q)
	case *entrustbus.Cancel:
		return w.cancel(ctx, d, o, q)
	default:
		return w.refuse(ctx, d, o, &entrustbus.FieldError{Field: "kind", Problem: "is not one that this worker knows", Undecodable: true})
	}
}

// decode reads the message. The order that it returns beside an error holds
// what could be read of it.
func (w *Worker) decode(d *delivery) (*order, error) {
	header := d.msg.Headers()
	o := &order{
		raw:         &ledger.Request{Subject: d.msg.Subject(), Header: header, Body: d.msg.Data()},
		requestedAt: d.published,
		deliveries:  d.deliveries,
		message:     d.sequence,
	}
	var err error
	if o.key.Producer, o.kind, err = w.subjects.ParseRequest(d.msg.Subject()); err != nil {
		return o, err
	}
	if key, ok := addressOf(header.Get(nats.MsgIdHdr), o.key.Producer); ok {
		o.key.ID = key.ID
	}
	if err := w.read(o); err != nil {
		return o, err
	}
	return o, w.fits(o)
}

// parkedExtra is what a slot and a ledger record add to a request, beside its
// headers, which a slot holds twice.
const parkedExtra = 4 << 10

// fits refuses a request that the bus could carry but not park: it would be
// submitted, and then have nowhere to wait.
func (w *Worker) fits(o *order) error {
	size := int64(len(o.raw.Body) + parkedExtra)
	for name, values := range o.raw.Header {
		for _, v := range values {
			size += 2 * int64(len(name)+len(v)+32)
		}
	}
	if limit := w.nc.MaxPayload(); limit > 0 && size > limit {
		return &entrustbus.FieldError{
			Field: "body", Problem: fmt.Sprintf("is too large to be kept beside its headers: %d > %d bytes", size, limit),
			Fix: "leave out keys that the contract does not know, or shorten headers and labels",
		}
	}
	return nil
}

// read decodes the raw request into o.
func (w *Worker) read(o *order) error {
	sum := sha256.Sum256(o.raw.Body)
	o.bytes, o.digest = sum[:], sum[:]
	o.deaths = deathsOf(o.raw)
	var err error
	if o.encoding, err = entrustbus.EncodingOf(o.raw.Get(entrustbus.HeaderContentType), o.raw.Body); err != nil {
		return err
	}
	// The answer goes to whom the body names, so a bad generation waits for it.
	var noGeneration error
	if o.raw.Get(entrustbus.HeaderReplay) != "" {
		o.replay, noGeneration = generationOf(o.raw)
	}
	request, err := entrustbus.DecodeRequest(o.kind, o.encoding, o.raw.Body)
	if request != nil && entrustbus.ValidToken(request.OrderID()) {
		o.request, o.key.ID = request, request.OrderID()
	}
	if err != nil {
		return err
	}
	if noGeneration != nil {
		return noGeneration
	}
	if o.digest, err = digestOf(request); err != nil {
		return err
	}
	return w.bounds(request)
}

// generationOf reads the replay generation of a request, 0 where it names none.
func generationOf(raw *ledger.Request) (int, error) {
	text := raw.Get(entrustbus.HeaderReplay)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<20 {
		return 0, &entrustbus.FieldError{Field: entrustbus.HeaderReplay, Problem: "is not a generation number"}
	}
	return n, nil
}

// maxLeap is how far ahead of its record a replay may be. A ledger that lost its
// last writes explains a few generations; whoever sends any number would have
// no later replay of the order count.
const maxLeap = 100

// refuseLeap ends a request whose generation no operator can have given. The order
// that it names stands, with its result.
func (w *Worker) refuseLeap(ctx context.Context, d *delivery, o *order) (refused bool, err error) {
	rec, err := w.ledger.Get(ctx, o.key)
	if err != nil && !errors.Is(err, ledger.ErrNoRecord) {
		return false, err
	}
	last := 0
	if rec != nil {
		last = rec.Replay
	}
	if o.replay <= last+maxLeap {
		return false, nil
	}
	why := &entrustbus.FieldError{
		Field: entrustbus.HeaderReplay, Problem: fmt.Sprintf("is too far ahead: generation %d after %d", o.replay, last),
		Fix: "leave the header out: only replays carry it",
	}
	o.replay = last
	if rec == nil {
		return true, w.refuse(ctx, d, o, why)
	}
	w.log.WarnContext(ctx, "refusing a request", o.logArgs("reason", string(deadletter.Invalid), "err", why)...)
	d.unrecorded = true
	return true, w.bury(ctx, d, o, deadletter.Invalid, why)
}

// deathsOf reads how often earlier generations of a request became dead letters.
func deathsOf(raw *ledger.Request) int {
	// Absent: none. Whoever publishes may send any number.
	n, _ := strconv.Atoi(raw.Get(deadletter.HeaderDeaths))
	return min(max(n, 0), deadletter.MaxDeaths)
}

func digestOf(r entrustbus.Request) ([]byte, error) {
	sum, err := entrustbus.Digest(r)
	return sum[:], err
}

// bounds checks what only this worker's configuration forbids.
func (w *Worker) bounds(r entrustbus.Request) error {
	if key := notCarriedOut(r); key != "" {
		return &entrustbus.FieldError{Field: key, Problem: "is not carried out by this worker", Fix: "leave the key out"}
	}
	var wait int64
	switch q := r.(type) {
	case *entrustbus.Issue:
		wait = q.PollMaxWaitSeconds
		csr, err := q.CSR()
		if err != nil {
			return err
		}
		if err := csr.Verifiable(); err != nil {
			field := "csr_pem"
			if q.CSRPEM == "" {
				field = "csr_der"
			}
			return &entrustbus.FieldError{
				Field: field, Problem: "cannot be passed on by this worker: " + err.Error(), Fix: "use a key of a type that it verifies: RSA, EC P-256, P-384, P-521 or Ed25519",
			}
		}
	case *entrustbus.Track:
		wait = q.PollMaxWaitSeconds
	}
	if limit := int64(w.cfg.MaxWaitLimit / time.Second); wait > limit {
		return &entrustbus.FieldError{
			Field: "poll_max_wait_seconds", Problem: fmt.Sprintf("exceeds what this worker allows: %d > %d", wait, limit),
			Fix: "ask for less, or have poll.max_wait_limit raised",
		}
	}
	return nil
}

// notCarriedOut is a key of the contract that is given and that this worker would ignore; "" for none. To ignore it would
// issue or revoke something else than was asked for.
func notCarriedOut(r entrustbus.Request) string {
	switch q := r.(type) {
	case *entrustbus.Issue:
		switch {
		case q.SubjectDN == entrustbus.SubjectOmit:
			return "subject_dn"
		case q.MaxValiditySeconds > 0:
			return "max_validity_seconds"
		case len(q.Properties) > 0:
			return "properties"
		case len(q.SubjectVariables) > 0:
			return "subject_variables"
		case len(q.Extensions) > 0:
			return "extensions"
		case len(q.EKUs) > 0:
			return "ekus"
		case q.MustStaple:
			return "must_staple"
		}
	case *entrustbus.Revoke:
		switch {
		case q.IssueCRL:
			return "issue_crl"
		case q.Reason == entrustbus.ReasonRemoveFromCRL:
			return "reason"
		}
	}
	return ""
}

// refuse ends a request that breaks the contract: a dead letter always, and a
// failed result where the request says whose it is.
func (w *Worker) refuse(ctx context.Context, d *delivery, o *order, why error) error {
	reason := deadletter.Invalid
	var field *entrustbus.FieldError
	if errors.As(why, &field) && field.Undecodable {
		reason = deadletter.Undecodable
	}
	w.log.WarnContext(ctx, "refusing a request", o.logArgs("reason", string(reason), "err", why)...)
	if o.key.ID == "" || o.key.Producer == "" {
		d.unrecorded = true
		return w.bury(ctx, d, o, reason, why)
	}
	rec := &ledger.Record{State: ledger.Open, Kind: o.kind, Digest: o.digest, Replay: o.replay, RequestedAt: o.requestedAt, Message: o.message}
	verdict, err := w.claim(ctx, d, o, rec)
	if err != nil || verdict == settled {
		return err
	}
	if verdict == unconfirmed {
		// It was fine when it was submitted: a bound was lowered since.
		return w.hold(ctx, o, lostReply, "a worker ended before it saw the gateway's answer, and now the request is refused: "+why.Error())
	}
	return w.finish(ctx, o, o.failed(&w.cfg, entrustbus.ClassValidation, "invalid_request", why.Error()), reason, why.Error())
}

// bury publishes a dead letter for a message that stays without a result.
func (w *Worker) bury(ctx context.Context, d *delivery, o *order, reason deadletter.Reason, why error) error {
	letter := o.letter(reason, why.Error())
	id := fmt.Sprintf("%s.%d.%s", d.stream, d.sequence, reason)
	err := w.persist(ctx, "publishing a dead letter", func(ctx context.Context) error {
		return w.dead.Put(ctx, letter, id)
	})
	if err == nil {
		w.metrics.deadLetter(string(reason))
	}
	return err
}

// failed makes the result of an order that failed.
func (o *order) failed(cfg *Config, class entrustbus.Class, code, message string) *entrustbus.Result {
	r := o.result(entrustbus.OutcomeFailed, cfg)
	r.Error = &entrustbus.ResultError{Class: class, Code: code, Message: message}
	return r
}
