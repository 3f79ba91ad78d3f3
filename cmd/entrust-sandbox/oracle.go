package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// verdict is what a batch came to.
type verdict struct {
	summary summary
	// findings are the ways in which the batch did not end as planned, a line each.
	findings []string
	// notes are worth knowing and nobody's fault.
	notes []string
	// atOnce and waited are how long the results of orders took, sorted.
	atOnce, waited []time.Duration
}

// oracle judges a batch by what the bus and the gateway hold in the end, not by
// what anybody saw on the way.
type oracle struct {
	batch *batch
	gw    *gatewaytest.Server
	// forgiving says that a worker may have died in the middle of a call. Orders
	// whose fate nobody can find out are held then, as they should be.
	forgiving bool

	results map[string]*entrustbus.Result // the one in force, by id
	v       verdict
}

// judge reads all results and compares them with the plan and the gateway.
func (o *oracle) judge(ctx context.Context, b *bus, seconds float64) (*verdict, error) {
	o.results = make(map[string]*entrustbus.Result)
	o.v.summary.Seconds = seconds
	if err := o.read(ctx, b); err != nil {
		return nil, err
	}
	revocations := make(map[string]gatewaytest.Revocation)
	for _, r := range o.gw.Revocations() {
		revocations[r.Serial] = r
	}
	for i := range o.batch.Orders {
		o.order(&o.batch.Orders[i], revocations)
	}
	slices.Sort(o.v.atOnce)
	slices.Sort(o.v.waited)
	return &o.v, nil
}

// read takes in the whole result stream, and counts what is there twice.
func (o *oracle) read(ctx context.Context, b *bus) error {
	type generation struct {
		id     string
		replay int
	}
	seen := make(map[generation]bool)
	for m, err := range streams.Scan(ctx, b.js, b.layout.Results, b.layout.Subjects().Result(producerName, "*")) {
		if err != nil {
			return err
		}
		r, err := decodeResult(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		if err != nil {
			return err
		}
		if g := (generation{r.ID, r.Replay}); seen[g] {
			o.v.summary.DuplicateResults++
			o.find("%s has more than one result of generation %d", r.ID, r.Replay)
		} else {
			seen[g] = true
		}
		if was := o.results[r.ID]; was == nil || r.Replay > was.Replay {
			o.results[r.ID] = r
		}
	}
	return nil
}

// order judges one order and its revocation.
func (o *oracle) order(q *order, revocations map[string]gatewaytest.Revocation) {
	csr, err := x509.ParseCertificateRequest(q.CSR)
	if err != nil {
		o.find("%s: the batch's own request cannot be read: %v", q.ID, err)
		return
	}
	there, _ := o.gw.Enrollment(gatewaytest.KeyHash(csr.RawSubjectPublicKeyInfo))
	if there.Count > 1 {
		o.v.summary.DuplicateEnrollments += there.Count - 1
		o.find("%s was enrolled %d times", q.ID, there.Count)
	}
	r := o.take(q.ID, q.planned())
	if r == nil {
		return
	}
	if r.Outcome == entrustbus.OutcomeUnconfirmed && o.forgiving {
		status := "never came by"
		if there.Count > 0 {
			status = "is " + there.Statuses[0]
		}
		o.v.notes = append(o.v.notes, fmt.Sprintf("%s is held: a worker died while it was under way; at the gateway it %s", q.ID, status))
	}
	if r.Outcome != entrustbus.OutcomeIssued {
		return
	}
	if err := q.checkIssued(r); err != nil {
		o.find("%s: %v", q.ID, err)
	}
	if !slices.Contains(there.Serials, r.Serial) {
		o.find("%s: the gateway did not issue the certificate that the result holds", q.ID)
	}
	if took := r.FinishedAt.Sub(r.RequestedAt); q.Pending {
		o.v.waited = append(o.v.waited, took)
	} else {
		o.v.atOnce = append(o.v.atOnce, took)
	}
	if q.Revoke == "" {
		return
	}
	if rev := o.take(q.revocationID(), entrustbus.OutcomeRevoked); rev != nil && rev.Outcome == entrustbus.OutcomeRevoked {
		// A hold is an action of its own in one dialect, and a reason in the other.
		got := revocations[r.Serial]
		if got.Standing != "revoked" && got.Standing != "held" || got.Reason != q.Revoke {
			o.find("%s: the certificate is %q for %q at the gateway, not revoked for %q", rev.ID, got.Standing, got.Reason, q.Revoke)
		}
	}
}

// take counts the result of a request, and returns it, nil where there is none.
func (o *oracle) take(id string, planned entrustbus.Outcome) *entrustbus.Result {
	s := &o.v.summary
	s.Requests++
	r := o.results[id]
	if r == nil {
		s.Lost++
		o.find("%s has no result", id)
		return nil
	}
	s.count(r.Outcome)
	switch {
	case r.Outcome == entrustbus.OutcomeUnconfirmed && o.forgiving:
	case r.Outcome != planned && r.Error != nil:
		o.find("%s ended as %s, not %s: %v", id, r.Outcome, planned, r.Error)
	case r.Outcome != planned:
		o.find("%s ended as %s, not %s", id, r.Outcome, planned)
	case r.Producer != producerName || r.Labels["planned"] != string(planned):
		o.find("%s: the result does not carry the request's producer and labels", id)
	}
	return r
}

func (o *oracle) find(format string, args ...any) {
	o.v.findings = append(o.v.findings, fmt.Sprintf(format, args...))
}

// parseCertificate reads the first certificate of a PEM text.
func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("there is no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}
