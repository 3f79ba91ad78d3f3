package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// order is one request for a certificate, and perhaps its revocation later.
type order struct {
	producer int
	request  *entrustbus.Issue
	want     entrustbus.Outcome
	revoke   bool
	spki     []byte

	result, revoked *entrustbus.Result
}

// newOrder makes the n-th order. The first part of its name tells the simulator what to
// do with it.
func newOrder(n int) (*order, error) {
	fates := []struct {
		word   string
		want   entrustbus.Outcome
		revoke bool
	}{
		{word: "issue", want: entrustbus.OutcomeIssued},
		{word: "pending", want: entrustbus.OutcomeIssued},
		{word: "issue", want: entrustbus.OutcomeIssued, revoke: true},
		{word: "reject", want: entrustbus.OutcomeRejected},
		{word: "issue", want: entrustbus.OutcomeIssued},
		{word: "pending", want: entrustbus.OutcomeIssued, revoke: true},
		{word: "decline", want: entrustbus.OutcomeRejected},
	}
	fate := fates[n%len(fates)]
	name := fmt.Sprintf("%s-%d.compose.example", fate.word, n)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
	}, key)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	return &order{
		producer: n % 2,
		request:  &entrustbus.Issue{ID: fmt.Sprintf("order-%d", n), CSRDER: csr, Labels: map[string]string{"n": fmt.Sprint(n)}},
		want:     fate.want, revoke: fate.revoke, spki: spki,
	}, nil
}

// revocation is the request to revoke what was issued.
func (o *order) revocation() *entrustbus.Revoke {
	return &entrustbus.Revoke{ID: "revoke-" + o.request.ID, SerialDecimal: o.result.SerialDecimal, Reason: "superseded"}
}

// judge compares what became of the order with what was to become of it. A result
// unconfirmed is an honest answer to a worker's death, and is counted elsewhere.
func (o *order) judge() error {
	if o.result == nil {
		return fmt.Errorf("%s: no result", o.request.ID)
	}
	if o.result.Outcome == entrustbus.OutcomeUnconfirmed {
		return nil
	}
	if o.result.Outcome != o.want {
		return fmt.Errorf("%s: outcome %s, want %s (%v)", o.request.ID, o.result.Outcome, o.want, o.result.Error)
	}
	if o.result.Labels["n"] != o.request.Labels["n"] || o.result.PossibleDuplicate {
		return fmt.Errorf("%s: labels %v, possible duplicate %v", o.request.ID, o.result.Labels, o.result.PossibleDuplicate)
	}
	if o.want == entrustbus.OutcomeIssued {
		if err := o.judgeCertificate(); err != nil {
			return fmt.Errorf("%s: %w", o.request.ID, err)
		}
	}
	if o.revoke && (o.revoked == nil || o.revoked.Outcome != entrustbus.OutcomeRevoked) {
		return fmt.Errorf("%s: its certificate was not revoked", o.request.ID)
	}
	return nil
}

func (o *order) judgeCertificate() error {
	block, _ := pem.Decode([]byte(o.result.CertificatePEM))
	if block == nil {
		return errors.New("no certificate in the result")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	if string(certificate.RawSubjectPublicKeyInfo) != string(o.spki) {
		return errors.New("the certificate is for another key")
	}
	if time.Now().After(certificate.NotAfter) {
		return errors.New("the certificate is over")
	}
	return nil
}

func (o *order) keyHash() string { return gatewaytest.KeyHash(o.spki) }
