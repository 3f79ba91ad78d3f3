package request

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// succeeded reports whether the result is what was asked for.
func (p *parcel) succeeded() bool {
	switch p.request.Kind() {
	case entrustbus.KindRevoke:
		return p.result.Outcome == entrustbus.OutcomeRevoked
	case entrustbus.KindCancel:
		return p.result.Outcome == entrustbus.OutcomeCancelled
	}
	return p.result.Outcome == entrustbus.OutcomeIssued
}

// foreign reports whether the result is that of another request, which had the id before:
// workers refuse the second one, and the first one's result stands.
func (s *sender) foreign(ctx context.Context, p *parcel) bool {
	r := p.result
	if r.Kind != p.request.Kind() {
		return true
	}
	switch q := p.request.(type) {
	case *entrustbus.Issue:
		csr, err := q.CertificateRequest()
		return err == nil && otherKey(r, csr)
	case *entrustbus.Track:
		csr, err := q.CertificateRequest()
		return r.TrackingID != "" && r.TrackingID != q.TrackingID || err == nil && otherKey(r, csr)
	case *entrustbus.Revoke:
		serial, err := q.SerialNumber()
		return err == nil && r.Serial != "" && strings.TrimLeft(r.Serial, "0") != serial.Text(16)
	case *entrustbus.Cancel:
		return s.otherContent(ctx, p)
	}
	return false
}

// otherKey reports whether the certificate of a result is for another key than the
// certificate request.
func otherKey(r *entrustbus.Result, csr *x509.CertificateRequest) bool {
	block, _ := pem.Decode([]byte(r.CertificatePEM))
	if block == nil || csr == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && !bytes.Equal(cert.RawSubjectPublicKeyInfo, csr.RawSubjectPublicKeyInfo)
}

// otherContent reports whether the ledger knows the id by a request of other content. A
// result of a cancellation names nothing that could be compared.
func (s *sender) otherContent(ctx context.Context, p *parcel) bool {
	ctx, cancel := s.bus.Step(ctx)
	defer cancel()
	rec, err := ledger.New(s.bus.JS, s.bus.Layout.Orders).Get(ctx, order.Key{Producer: p.producer, ID: p.request.OrderID()})
	if err != nil {
		return false // nothing says so
	}
	digest, err := entrustbus.Digest(p.request)
	return err == nil && !bytes.Equal(rec.Digest, digest[:])
}
