package oracle

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// writtenWithin is how long after its acceptance an order still counts as in flight: the
// answer has to arrive, and the worker has to write the record.
const writtenWithin = time.Second

// check compares one order. It returns the order's last submission, and whether the order
// is held although its Want does not allow it.
func (c *Oracle) check(ctx context.Context, r *Report, ev *evidence, o *Order) (last submission, held bool) {
	id, key := o.ID(), o.Key()
	results := ev.results[key]
	there := gatewaytest.Enrollment{}
	if o.KeyHash != "" {
		there, _ = c.Gateway.Enrollment(o.KeyHash)
	}
	if len(results) == 0 {
		r.Lost++
		r.find("%s has no result; the gateway enrolled it %d times %v, the ledger says %s, its schedule is %s, it was woken %d times %v",
			id, there.Count, there.Statuses, c.ledgerWord(ctx, key), c.schedule(ctx, o), len(ev.wakes[key]), ev.wakes[key])
		r.countEnrollments(o, there, 1)
		return submission{}, false
	}
	seen := map[int]bool{}
	for _, res := range results {
		if seen[res.Replay] {
			r.SecondResults++
			r.find("%s has more than one result of generation %d: %s after %s", id, res.Replay, res.Outcome, results[0].Outcome)
		}
		seen[res.Replay] = true
	}
	res := r.Results[key]
	r.Outcomes[res.Outcome]++
	unconfirmed := res.Outcome == entrustbus.OutcomeUnconfirmed
	switch {
	case unconfirmed:
		r.HeldUnconfirmed++
	case !o.Right(res.Outcome):
		why := ""
		if res.Error != nil {
			why = fmt.Sprintf(": %v", res.Error)
		}
		r.find("%s ended as %s, not %s%s", id, res.Outcome, words(o.Want), why)
	case res.Outcome != entrustbus.OutcomeFailed && !maps.Equal(res.Labels, o.Request.LabelMap()):
		r.find("%s: the result has the labels %v, the request %v", id, res.Labels, o.Request.LabelMap())
	}
	if res.Producer != o.producer() || res.Kind != o.Request.Kind() {
		r.find("%s: the result is of producer %q and kind %q", id, res.Producer, res.Kind)
	}
	switch q := o.Request.(type) {
	case *entrustbus.Issue:
		c.checkEnrollments(r, o, q, res, there)
	case *entrustbus.Revoke:
		checkRevocation(r, ev, q, res)
	}
	r.checkLetters(ev, o, res)
	c.checkLedger(ctx, r, ev, o, res)
	c.checkPolls(r, ev, key, there)
	last = submission{id, res.SubmittedAt, res.FinishedAt}
	if n := len(there.Enrolled); n > 0 && !unconfirmed {
		// A parked order was in flight only until the worker had written its acceptance.
		if taken := there.Enrolled[n-1].Add(writtenWithin); taken.Before(last.to) {
			last.to = taken
		}
	}
	return last, unconfirmed && !o.Right(res.Outcome)
}

func words(outcomes []entrustbus.Outcome) string {
	var all []string
	for _, o := range outcomes {
		all = append(all, string(o))
	}
	return strings.Join(all, " or ")
}

// countEnrollments compares the enrollments of an order with the allowed number.
func (r *Report) countEnrollments(o *Order, there gatewaytest.Enrollment, allowed int) {
	if there.Count > allowed {
		r.DoubleEnrollments += there.Count - allowed
		r.find("%s was enrolled %d times, and may be %d times: %v at %v", o.ID(), there.Count, allowed, there.TrackingIDs, there.Enrolled)
	}
}

// checkEnrollments compares the order with its own submissions, and its certificate with
// the key and the order.
func (c *Oracle) checkEnrollments(r *Report, o *Order, q *entrustbus.Issue, res *entrustbus.Result, there gatewaytest.Enrollment) {
	allowed := 1
	if res.PossibleDuplicate {
		allowed = res.Submissions
	}
	if res.Submissions > 1 {
		r.Repeated++
	}
	r.countEnrollments(o, there, allowed)
	switch res.Outcome {
	case entrustbus.OutcomeUnconfirmed:
		word := "has no order of it"
		if there.Count > 0 {
			word = "has it as " + strings.Join(there.Statuses, ", ")
		}
		r.note("%s is held; the gateway %s", o.ID(), word)
	case entrustbus.OutcomeIssued:
		if err := CheckIssued(q, res, c.Chain); err != nil {
			r.find("%s: %v", o.ID(), err)
		}
		if !slices.Contains(there.Serials, res.Serial) {
			r.find("%s: the gateway did not issue the certificate for this order", o.ID())
		}
	}
}

// CheckIssued returns the defect of a result's certificate, nil if there is none. The key
// and the names must be the request's, and the serial the result's. The chain must begin
// with the issuer; it may be missing unless mustChain is set.
func CheckIssued(q *entrustbus.Issue, res *entrustbus.Result, mustChain bool) error {
	csr, err := x509.ParseCertificateRequest(q.CSRDER)
	if err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	cert, err := certificateOf(res.CertificatePEM)
	if err != nil {
		return err
	}
	switch {
	case !slices.Equal(cert.RawSubjectPublicKeyInfo, csr.RawSubjectPublicKeyInfo):
		return errors.New("the certificate's key is not the request's")
	case !slices.Equal(cert.DNSNames, csr.DNSNames):
		return errors.New("the certificate's names are not the request's")
	case res.Serial != cert.SerialNumber.Text(16):
		return errors.New("the result's serial is not its certificate's")
	case time.Now().After(cert.NotAfter):
		return errors.New("the certificate has expired")
	case res.ChainPEM == "" && !mustChain:
		return nil
	}
	issuer, err := certificateOf(res.ChainPEM)
	if err != nil {
		return fmt.Errorf("reading the chain: %w", err)
	}
	return cert.CheckSignatureFrom(issuer)
}

func certificateOf(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("there is no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// checkRevocation checks that the certificate is revoked at the gateway too, for the
// request's reason.
func checkRevocation(r *Report, ev *evidence, q *entrustbus.Revoke, res *entrustbus.Result) {
	if res.Outcome != entrustbus.OutcomeRevoked {
		return
	}
	// A hold is a separate action in one dialect, and a reason in the other.
	got := ev.revocations[res.Serial]
	if got.Standing != "revoked" && got.Standing != "held" || q.Reason != "" && got.Reason != q.Reason {
		r.find("%s ended as revoked for %q, and the certificate is %q for %q at the gateway", q.ID, q.Reason, got.Standing, got.Reason)
	}
}

// checkLedger checks that the record agrees with the result.
func (c *Oracle) checkLedger(ctx context.Context, r *Report, ev *evidence, o *Order, res *entrustbus.Result) {
	agrees := func(rec *entrustbus.Order) bool {
		return rec != nil && rec.Phase == entrustbus.PhaseClosed && rec.Outcome == res.Outcome
	}
	if agrees(ev.ledger[o.Key()]) {
		return
	}
	// A replica may lag: the leader decides.
	if ev.closedBy.IsZero() {
		ev.closedBy = time.Now().Add(closing)
	}
	rec, err := c.record(ctx, o.Key())
	for !agrees(rec) && time.Now().Before(ev.closedBy) && testbed.Sleep(ctx, 100*time.Millisecond) == nil {
		rec, err = c.record(ctx, o.Key())
	}
	switch {
	case err != nil:
		r.find("%s: %v", o.ID(), err)
	case !agrees(rec):
		r.find("%s ended as %s, and the ledger says %s %s", o.ID(), res.Outcome, rec.Phase, rec.Outcome)
	}
}

// record reads an order's ledger record from the leader.
func (c *Oracle) record(ctx context.Context, key string) (*entrustbus.Order, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m, err := streams.Last(ctx, c.JS, "KV_"+c.Layout.Orders, c.ledgerSubject(key))
	if err != nil {
		return nil, fmt.Errorf("reading the ledger: %w", err)
	}
	return entrustbus.DecodeOrder(m.Data)
}

func (c *Oracle) ledgerWord(ctx context.Context, key string) string {
	rec, err := c.record(ctx, key)
	if err != nil {
		return err.Error()
	}
	return string(rec.Phase)
}

// schedule describes the schedule of a waiting order.
func (c *Oracle) schedule(ctx context.Context, o *Order) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m, err := streams.Last(ctx, c.JS, c.Layout.Parked, c.Layout.Subjects().Parked(o.producer(), o.ID()))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return "missing"
	case err != nil:
		return err.Error()
	}
	return fmt.Sprintf("message %d of %s, due %s", m.Sequence, m.Time.Format(time.StampMilli), m.Header.Get(entrustbus.HeaderDue))
}

// checkPolls finds polls before the shortest wait of the schedule or before the first
// wake-up, and notes polls after the result.
func (c *Oracle) checkPolls(r *Report, ev *evidence, key string, there gatewaytest.Enrollment) {
	if c.FirstPoll == 0 {
		return
	}
	// The simulator counts whole milliseconds from the enrollment.
	const rounding = 2 * time.Millisecond
	first := time.Time{}
	for _, w := range ev.wakes[key] {
		if first.IsZero() || w.Stored.Before(first) {
			first = w.Stored
		}
	}
	for i, tracking := range there.TrackingIDs {
		polls, err := c.Gateway.PollsOf(tracking)
		if err != nil || polls.Count == 0 {
			continue
		}
		earliest := there.Enrolled[i].Add(c.FirstPoll)
		if c.Layout.Replicas == 1 && c.Wakes != nil && c.Wakes.sawAll() && first.After(earliest) {
			earliest = first
		}
		if early := earliest.Sub(polls.First); early > rounding {
			r.EarlyPolls++
			r.find("%s was polled %v early", key, early)
		}
		if stored, ok := ev.stored[key]; ok && polls.Last.After(stored.Add(rounding)) {
			r.LatePolls++
			r.note("%s was polled %v after its result was stored", key, polls.Last.Sub(stored).Round(time.Millisecond))
		}
	}
}
