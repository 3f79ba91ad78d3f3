package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// producerName is the producer that the batch is published as.
const producerName = "sandbox"

// plan is what a batch is made from.
type plan struct {
	Orders  int     `json:"orders"`
	Pending float64 `json:"pending"`
	Reject  float64 `json:"reject"`
	Revoke  float64 `json:"revoke"`
	Seed    uint64  `json:"seed"`
}

// batch is what the sample producer sends, and how each of it is to end. It is
// kept in the data folder: requests that are published again after a crash have
// to be the same to the byte, and a CSR's signature is never the same twice.
type batch struct {
	Plan   plan    `json:"plan"`
	Orders []order `json:"orders"`

	// resumed says that the batch was found, not made.
	resumed bool
}

// order is one certificate of a batch.
type order struct {
	ID      string `json:"id"`
	CSR     []byte `json:"csr"`
	Pending bool   `json:"pending,omitempty"`
	Reject  bool   `json:"reject,omitempty"`
	// Revoke is the reason to revoke the certificate for, "" for not at all.
	Revoke string `json:"revoke,omitempty"`
}

// planned is the outcome that the order is to have.
func (o *order) planned() entrustbus.Outcome {
	if o.Reject {
		return entrustbus.OutcomeRejected
	}
	return entrustbus.OutcomeIssued
}

// issue is the request for the certificate.
func (o *order) issue() *entrustbus.Issue {
	return &entrustbus.Issue{ID: o.ID, CSRDER: o.CSR, Labels: map[string]string{"planned": string(o.planned())}}
}

// revocationID is the id of the request that revokes the certificate.
func (o *order) revocationID() string { return "revoke-" + o.ID }

// revocation is the request to revoke the certificate that a result brought. The
// three forms of naming it take turns.
func (o *order) revocation(turn int, r *entrustbus.Result) *entrustbus.Revoke {
	q := &entrustbus.Revoke{
		ID: o.revocationID(), Reason: o.Revoke, Comment: "sandbox",
		Labels: map[string]string{"planned": string(entrustbus.OutcomeRevoked)},
	}
	switch turn % 3 {
	case 0:
		q.Serial = r.Serial
	case 1:
		q.SerialDecimal = r.SerialDecimal
	default:
		q.CertificatePEM = r.CertificatePEM
	}
	return q
}

// openBatch reads the batch in dir, or makes one by p and keeps it there. A batch
// that was found stands; what p says otherwise is a mistake only where the user
// chose it by a flag.
func openBatch(dir string, p plan, chosen func(flag string) bool) (*batch, error) {
	path := filepath.Join(dir, "batch.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err := newBatch(p)
		if err != nil {
			return nil, err
		}
		return b, b.save(path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the batch: %w", err)
	}
	b := &batch{resumed: true}
	if err := json.Unmarshal(data, b); err != nil {
		return nil, fmt.Errorf("reading the batch %q: %w", path, err)
	}
	for _, f := range []struct {
		flag        string
		found, want any
	}{
		{"orders", b.Plan.Orders, p.Orders}, {"pending", b.Plan.Pending, p.Pending},
		{"reject", b.Plan.Reject, p.Reject}, {"revoke", b.Plan.Revoke, p.Revoke}, {"seed", b.Plan.Seed, p.Seed},
	} {
		if f.found != f.want && chosen(f.flag) {
			return nil, &usageError{fmt.Errorf("--%s must be that of the batch in %s, or --data another folder: %v != %v", f.flag, dir, f.want, f.found)}
		}
	}
	return b, nil
}

// save writes the batch in one step, so that a killed process leaves all of it
// or nothing.
func (b *batch) save(path string) error {
	data, err := json.Marshal(b)
	if err == nil {
		err = os.WriteFile(path+".tmp", data, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return fmt.Errorf("keeping the batch: %w", err)
	}
	return nil
}

// newBatch draws which orders wait, which are rejected and which certificates
// are revoked, exactly as many as the plan says, and makes their CSRs.
func newBatch(p plan) (*batch, error) {
	b := &batch{Plan: p, Orders: make([]order, p.Orders)}
	share := func(f float64) int { return int(math.Round(f * float64(p.Orders))) }
	draw := mathrand.New(mathrand.NewPCG(p.Seed, 0))
	for _, i := range draw.Perm(p.Orders)[:share(p.Pending)] {
		b.Orders[i].Pending = true
	}
	// Rejected orders and revoked certificates are apart: both ends of one draw.
	drawn := draw.Perm(p.Orders)
	for _, i := range drawn[:share(p.Reject)] {
		b.Orders[i].Reject = true
	}
	reasons := entrustbus.Reasons()
	revoked := min(share(p.Revoke), p.Orders-share(p.Reject))
	for n, i := range drawn[p.Orders-revoked:] {
		b.Orders[i].Revoke = reasons[n%len(reasons)]
	}
	for i := range b.Orders {
		o := &b.Orders[i]
		o.ID = fmt.Sprintf("order-%04d", i+1)
		var err error
		if o.CSR, err = newCSR(o.commonName()); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// commonName steers the simulator: it decides by what stands before the hyphen.
func (o *order) commonName() string {
	word := "issue"
	switch {
	case o.Pending && o.Reject:
		word = "decline"
	case o.Pending:
		word = "pending"
	case o.Reject:
		word = "reject"
	}
	return word + "-" + o.ID + ".sandbox.example"
}

// newCSR makes a certificate request for the name, with a key of its own that
// nobody keeps.
func newCSR(name string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: name},
		DNSNames: []string{name, "www." + name},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	return csr, nil
}

// checkIssued reports what is wrong with the certificate of a result, nil for nothing.
func (o *order) checkIssued(r *entrustbus.Result) error {
	want, err := x509.ParseCertificateRequest(o.CSR)
	if err != nil {
		return err
	}
	got, err := parseCertificate(r.CertificatePEM)
	if err != nil {
		return err
	}
	issuer, err := parseCertificate(r.ChainPEM)
	if err != nil {
		return fmt.Errorf("chain: %w", err)
	}
	switch {
	case !bytes.Equal(got.RawSubjectPublicKeyInfo, want.RawSubjectPublicKeyInfo):
		return errors.New("the certificate's key is not that of the request")
	case got.VerifyHostname(want.DNSNames[0]) != nil || got.VerifyHostname(want.DNSNames[1]) != nil:
		return errors.New("the certificate lacks a name of the request")
	case r.Serial != fmt.Sprintf("%x", got.SerialNumber):
		return errors.New("the result's serial is not that of its certificate")
	}
	return got.CheckSignatureFrom(issuer)
}
