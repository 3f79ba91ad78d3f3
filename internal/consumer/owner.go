package consumer

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/keys"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// known is what the bus holds about a request that the policy checks.
type known struct {
	ca      string // of the request
	owner   string // the producer that owns the certificate of a revocation at that CA; "" when unknown
	blocked string // the hash of the certificate request's key; "" when it is not blocked
}

// learn reads what the policy needs. Orders that wait for approval, or have ended, need no
// policy.
func (h *handling) learn(ctx context.Context) error {
	if h.w.cfg.Policy == nil || h.d == nil || h.key.ID == "" || h.cur.Phase == order.Awaiting || h.cur.Phase == order.Concluded {
		return nil
	}
	q := h.asked()
	if q == nil || q.Problem != nil || q.Body == nil {
		return nil
	}
	ca := h.cur.CAID
	if h.cur.Phase == "" || h.cur.Phase == order.Closed {
		ca, _ = q.CA()
	}
	var err error
	h.known, err = h.w.known(ctx, q.Body, cmp.Or(ca, h.w.cfg.CAID))
	return err
}

// known reads what the bus holds about a request: the owner of a certificate to be revoked, or
// whether a certificate request's key is blocked. ca is the CA of the request. When the request
// cannot be read, the policy refuses it.
func (w *Worker) known(ctx context.Context, body entrustbus.Request, ca string) (known, error) {
	k := known{ca: ca}
	switch body := body.(type) {
	case *entrustbus.Issue:
		csr, err := body.CSR()
		if err != nil {
			return k, nil
		}
		hash := keys.Hash(csr.Request.RawSubjectPublicKeyInfo)
		_, blocked, err := w.keys.Get(ctx, hash)
		if blocked {
			k.blocked = hash
		}
		return k, err
	case *entrustbus.Revoke:
		serial, err := body.SerialNumber()
		if err != nil {
			return k, nil
		}
		c, err := w.certs.Get(ctx, ca, fmt.Sprintf("%x", serial))
		k.owner = c.Producer
		return k, err
	}
	return k, nil
}

// PolicyRequest returns the policy's input for a request that is not an order. It contains CA
// and profile, the owner of the certificate, and whether the key is blocked. It needs no
// signature.
func (w *Worker) PolicyRequest(ctx context.Context, producer string, body entrustbus.Request) (policy.Request, error) {
	ca, profile := (&order.Request{Body: body}).CA()
	q := policy.Request{
		Producer: producer, Body: body, CA: cmp.Or(ca, w.cfg.CAID), Profile: cmp.Or(profile, w.cfg.ProfileID), Message: policy.Message{Unsigned: true},
	}
	k, err := w.known(ctx, body, q.CA)
	q.Owner, q.BlockedKey = k.owner, k.blocked
	return q, err
}

// keep writes what a result shows, before the result is published: the owner of an issued
// certificate, or a compromised key. After a crash in between, a worker writes both again. When
// the server refuses the write for ever, keep gives it up: the result matters more.
func (h *handling) keep(ctx context.Context, r *entrustbus.Result) error {
	if h.w.cfg.Policy == nil {
		return nil
	}
	var err error
	switch {
	case r.Kind == entrustbus.KindIssue && r.Outcome == entrustbus.OutcomeIssued:
		err = h.keepOwner(ctx, r)
	case r.Outcome == entrustbus.OutcomeRevoked:
		err = h.blockKey(ctx, r)
	}
	if streams.IsRefused(err) {
		h.w.log.ErrorContext(ctx, "the server refuses to store the owner or the blocked key of a certificate; its result is still published",
			h.args("serial", r.Serial, "err", err)...)
		return nil
	}
	return err
}

func (h *handling) keepOwner(ctx context.Context, r *entrustbus.Result) error {
	var hash string
	csr, names, err := csrOf(h.asked())
	if err == nil && csr != nil {
		hash = keys.Hash(csr.RawSubjectPublicKeyInfo) // the certificate was checked against it
	} else if hash, err = keyOf(r.CertificatePEM); err != nil {
		h.w.log.ErrorContext(ctx, "the owner of a certificate cannot be stored", h.args("serial", r.Serial, "err", err)...)
		return nil
	}
	c := certs.Certificate{
		Producer: r.Producer, Order: r.ID, Key: hash, CAID: r.CAID, ProfileID: r.ProfileID, NotAfter: r.NotAfter, Names: certs.JoinNames(names),
	}
	return h.w.certs.Put(ctx, r.CAID, r.Serial, c, r.NotAfter.Sub(h.w.now()))
}

// blockKey blocks the key of a certificate that was revoked for its compromise. The stored
// owner entry names the key. A certificate in the request counts only without such an entry: a
// producer may have made it up, with the key of another producer.
func (h *handling) blockKey(ctx context.Context, r *entrustbus.Result) error {
	q := h.asked()
	if q == nil {
		return nil // the worker that wrote this end into the record also wrote the block
	}
	body, ok := q.Body.(*entrustbus.Revoke)
	if !ok {
		return nil
	}
	if reason, _ := entrustbus.NormalReason(body.Reason); reason != reasonKeyCompromise {
		return nil
	}
	c, err := h.w.certs.Get(ctx, r.CAID, r.Serial)
	if err != nil {
		return err
	}
	hash := c.Key
	if !keys.ValidHash(hash) && body.CertificatePEM != "" {
		hash, _ = keyOf(body.CertificatePEM) // validated with the request
	}
	if !keys.ValidHash(hash) {
		h.w.log.WarnContext(ctx, "the key of a certificate that was revoked for its compromise is unknown; block it with entrust-worker keys block",
			h.args("serial", r.Serial)...)
		return nil
	}
	added, err := h.w.keys.Add(ctx, keys.Block{Hash: hash, Reason: reasonKeyCompromise, Producer: r.Producer, Order: r.ID})
	if added {
		h.w.log.InfoContext(ctx, "blocked the key of a revoked certificate", h.args("serial", r.Serial, "key", hash)...)
	}
	return err
}

const reasonKeyCompromise = "keyCompromise"

// keyOf returns the key hash of a certificate in PEM.
func keyOf(text string) (string, error) {
	all, err := entrustbus.ReadCertificates([]byte(text))
	if err != nil {
		return "", err
	}
	cert, err := x509.ParseCertificate(all[0])
	if err != nil {
		return "", errors.New("the certificate cannot be parsed")
	}
	return keys.Hash(cert.RawSubjectPublicKeyInfo), nil
}
