package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
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
		Labels: revocationLabels(),
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

func revocationLabels() map[string]string {
	return map[string]string{"planned": string(entrustbus.OutcomeRevoked)}
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
			return nil, &usageError{fmt.Errorf("--%s must be that of the batch in %s (%v, not %v); or choose another folder with --data", f.flag, dir, f.found, f.want)}
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
		name := o.commonName()
		if o.CSR, err = oracle.NewCSR(name, "www."+name); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// revocations is how many certificates the batch revokes, if all of them are issued.
func (b *batch) revocations() int {
	n := 0
	for i := range b.Orders {
		if b.Orders[i].Revoke != "" {
			n++
		}
	}
	return n
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
