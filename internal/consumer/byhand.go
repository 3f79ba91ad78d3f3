package consumer

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// ErrNoOriginal says that no dead letter holds the request of an order: it was purged, or the
// order ended without one.
var ErrNoOriginal = errors.New("no dead letter holds the order's request")

// isByHand reports whether a request of this kind is an operator's request to end another
// order.
func isByHand(kind entrustbus.Kind) bool {
	return kind == entrustbus.KindComplete || kind == entrustbus.KindResolve
}

// byHand handles an operator's request that completes or resolves another order. The request
// has no record and no result of its own. An invalid one becomes a dead letter.
func (w *Worker) byHand(ctx context.Context, d *delivery, q *order.Request) error {
	h := &handling{w: w, d: d, key: order.Key{Producer: q.Key.Producer}, read: q, maybeHandled: d.deliveries > 1, lost: w.rollbacks.count()}
	refuse := func(why error) error {
		q.Key.ID, q.Problem = "", why
		return h.run(ctx, func(r order.Remains) order.Event { return order.Delivered{Request: *q, Remains: r} })
	}
	var named string
	var cert *x509.Certificate
	err := q.Problem
	switch b := q.Body.(type) {
	case *entrustbus.Complete:
		named = b.Order
		if err == nil {
			cert, err = b.Certificate()
		}
	case *entrustbus.Resolve:
		named = b.Order
	}
	if err == nil && q.Generation == 0 {
		err = &entrustbus.FieldError{Field: entrustbus.HeaderReplay, Problem: "is missing", Fix: "name the generation that follows the order's"}
	}
	if err != nil {
		return refuse(err)
	}
	h.key.ID = named
	if err := h.readRecord(ctx); err != nil {
		return h.rest(err)
	}
	if kind := h.cur.Kind; h.cur.Phase != "" && kind != entrustbus.KindIssue && kind != entrustbus.KindTrack {
		h.key.ID = ""
		return refuse(&entrustbus.FieldError{Field: "order", Problem: fmt.Sprintf("is a %s request", kind), Fix: "name an issue or track request"})
	}
	of := *q
	of.Key = h.key
	h.read = &of
	ev := order.ByHand{}
	if cert != nil {
		ev.Problem = "was not checked" // with neither certificate nor problem, the event would resolve the order
	}
	// The machine refuses this request in any case: do not look for the original.
	if _, refusal := order.ReplayOf(h.cur.Record); h.cur.Phase != "" && refusal == "" {
		original, err := Original(ctx, w.letters, w.subjects, h.key, h.cur.Record)
		switch {
		case err == nil:
			of.Body, of.Encoding, of.Raw = original.Body, original.Encoding, withTrace(q.Raw, original.Raw)
		case !errors.Is(err, ErrNoOriginal):
			return err
		case cert != nil:
			ev.Problem = err.Error()
		}
		if cert != nil && original != nil {
			ev.Certificate, ev.Problem = w.checkByHand(ctx, original, h.cur.CAID, cert)
		}
	}
	ev.Request = of
	return h.run(ctx, func(order.Remains) order.Event { return ev })
}

// Original finds the request of a closed order in its dead letters, by the digest in the
// record. The error is ErrNoOriginal when none holds it.
func Original(ctx context.Context, letters *deadletter.Box, subjects entrustbus.Subjects, key order.Key, rec order.Record) (*order.Request, error) {
	var found *order.Request
	for l, err := range letters.List(ctx, deadletter.Filter{Producer: key.Producer, ID: key.ID, Kind: rec.Kind}) {
		if _, odd := errors.AsType[*deadletter.UnreadableError](err); odd {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for the request of %s: %w", key, err)
		}
		q := order.Read(subjects, &l.Request, order.Limits{}) // no limits: they were checked when it came
		if q.Problem == nil && q.Key == key && bytes.Equal(q.Digest, rec.Digest) {
			found = &q
		}
	}
	if found == nil {
		return nil, ErrNoOriginal
	}
	return found, nil
}

// CheckCertificate checks an operator's certificate for the order of a request, by the rules
// for a certificate of the gateway. The error says why the certificate is wrong.
func CheckCertificate(q *order.Request, cert *x509.Certificate, now time.Time) (*order.Certificate, error) {
	want, err := expectationOf(q, now)
	if err != nil {
		return nil, err
	}
	leaf, err := gateway.CheckIssued(gateway.Answer{Certificate: cert.Raw}, want)
	if m, ok := errors.AsType[*gateway.MismatchError](err); ok {
		return nil, errors.New(m.Problem)
	}
	if err != nil {
		return nil, err
	}
	return &order.Certificate{
		PEM: armour(leaf.Raw), Serial: fmt.Sprintf("%x", leaf.SerialNumber), SerialDecimal: leaf.SerialNumber.String(),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}, nil
}

// checkByHand checks an operator's certificate, and adds the chain of its CA if the gateway
// returns one. The problem is "" for a valid certificate.
func (w *Worker) checkByHand(ctx context.Context, q *order.Request, caID string, cert *x509.Certificate) (*order.Certificate, string) {
	out, err := CheckCertificate(q, cert, w.now())
	if err != nil {
		return nil, err.Error()
	}
	ca, err := w.CA(ctx, caID)
	if err == nil {
		var issuer *x509.Certificate
		if issuer, err = x509.ParseCertificate(ca.Certificate); err == nil {
			err = cert.CheckSignatureFrom(issuer)
		}
	}
	if err != nil {
		out.Warnings = append(out.Warnings, "chain_pem: left out; the gateway gives no certificate of a CA that issued this one")
		return out, ""
	}
	out.ChainPEM = armour(append([][]byte{ca.Certificate}, ca.Chain...)...)
	return out, ""
}

// withTrace returns an operator's message with the trace of the request whose order it ends.
func withTrace(raw, original *order.Message) *order.Message {
	out := *raw
	out.Header = maps.Clone(raw.Header)
	for _, name := range []string{entrustbus.HeaderTraceParent, entrustbus.HeaderTraceState} {
		if v := original.Get(name); v != "" && raw.Get(name) == "" {
			out.Header[name] = []string{v}
		}
	}
	return &out
}
