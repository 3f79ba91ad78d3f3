package harness

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// evidence is what the bus and the gateway hold in the end.
type evidence struct {
	results map[string][]*entrustbus.Result // by id, in the order of publication
	stored  map[string]time.Time            // of the first result, by id
	letters map[string][]*deadletter.Letter
	wakes   map[string][]Wake
}

// Judge waits until the site is at rest, then compares orders with what bus and
// gateway hold. The error is one of reading them; what is wrong with the run is in
// the verdict.
func (s *Site) Judge(ctx context.Context, orders []*Order) (*Verdict, error) {
	v := &Verdict{Orders: len(orders), Outcomes: map[entrustbus.Outcome]int{}}
	if err := s.atRest(ctx); err != nil {
		v.find("the site did not come to rest: %v", err)
		// What is there is judged all the same, without the time that ran out.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
	}
	ev, err := s.evidence(ctx, v)
	if err != nil {
		return nil, err
	}
	for _, o := range orders {
		s.judge(v, ev, o)
	}
	s.wakes(v, ev)
	s.strangers(v, ev, orders)
	return v, nil
}

// atRest waits until no request, slot or wake-up is left on the bus.
func (s *Site) atRest(ctx context.Context) error {
	return Until(ctx, "nothing is left on the bus", func() (bool, error) {
		for _, name := range []string{s.Layout.Requests, s.Layout.Parked} {
			left, err := s.left(ctx, name)
			if err != nil {
				return false, err
			}
			if left > 0 {
				return false, fmt.Errorf("%s holds %d messages", name, left)
			}
		}
		return true, nil
	})
}

func (s *Site) left(ctx context.Context, stream string) (uint64, error) {
	try, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := s.JS.Stream(try, stream)
	if err != nil {
		return 0, err
	}
	return st.CachedInfo().State.Msgs, nil
}

// evidence reads results, dead letters and wake-ups.
func (s *Site) evidence(ctx context.Context, v *Verdict) (*evidence, error) {
	ev := &evidence{
		results: map[string][]*entrustbus.Result{}, stored: map[string]time.Time{},
		letters: map[string][]*deadletter.Letter{}, wakes: s.Witness.Wakes(),
	}
	subjects := s.Layout.Subjects()
	for m, err := range streams.Scan(ctx, s.JS, s.Layout.Results, subjects.ResultFilter()) {
		if err != nil {
			return nil, err
		}
		_, id, err := subjects.ParseOrder(m.Subject)
		if err != nil {
			v.find("a result lies on %s", m.Subject)
			continue
		}
		enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		if err != nil {
			v.find("%s: the result cannot be read: %v", id, err)
			continue
		}
		r, err := entrustbus.DecodeResult(enc, m.Data)
		if err != nil {
			v.find("%s: the result cannot be read: %v", id, err)
			continue
		}
		if len(ev.results[id]) == 0 {
			ev.stored[id] = m.Time
		}
		ev.results[id] = append(ev.results[id], r)
	}
	for m, err := range streams.Scan(ctx, s.JS, s.Layout.Dead, subjects.DeadFilter()) {
		if err != nil {
			return nil, err
		}
		l, err := deadletter.Parse(subjects, m.Sequence, m.Subject, m.Header, m.Data)
		if err != nil {
			v.find("dead letter %d cannot be read: %v", m.Sequence, err)
			continue
		}
		ev.letters[l.Key.ID] = append(ev.letters[l.Key.ID], l)
	}
	return ev, nil
}

// judge compares one order.
func (s *Site) judge(v *Verdict, ev *evidence, o *Order) {
	id := o.ID()
	results := ev.results[id]
	there := gatewaytest.Enrollment{}
	if o.KeyHash != "" {
		there, _ = s.Gateway.Enrollment(o.KeyHash)
	}
	if len(results) == 0 {
		v.Lost++
		v.find("%s has no result; the gateway enrolled it %d times %v, the ledger says %s", id, there.Count, there.Statuses, s.ledgerWord(id))
		return
	}
	seen := map[int]bool{}
	for _, r := range results {
		if seen[r.Replay] {
			v.SecondResults++
			v.find("%s has a second result of generation %d: %s after %s", id, r.Replay, r.Outcome, results[0].Outcome)
		}
		seen[r.Replay] = true
	}
	r := results[0]
	v.Outcomes[r.Outcome]++
	switch {
	case r.Outcome == entrustbus.OutcomeUnconfirmed:
		v.HeldUnconfirmed++
	case !o.Right(r.Outcome):
		v.find("%s ended as %s, not as one of %v: %v", id, r.Outcome, o.Want, r.Error)
	}
	if r.Producer != Producer || r.Kind != o.Request.Kind() {
		v.find("%s: the result is of producer %q and kind %q", id, r.Producer, r.Kind)
	}
	s.judgeEnrollments(v, o, r, there)
	s.judgeLetters(v, ev, o, r)
	s.judgeLedger(v, o, r)
	s.judgePolls(v, ev, id, there)
	if o.Request.Kind() == entrustbus.KindRevoke && r.Outcome == entrustbus.OutcomeRevoked {
		s.judgeRevocation(v, o.Request.(*entrustbus.Revoke), r)
	}
}

// judgeEnrollments holds the order to its own submissions, and a certificate to
// the key and the order that it was issued for.
func (s *Site) judgeEnrollments(v *Verdict, o *Order, r *entrustbus.Result, there gatewaytest.Enrollment) {
	issue, ok := o.Request.(*entrustbus.Issue)
	if !ok {
		return
	}
	allowed := 1
	if r.PossibleDuplicate {
		allowed = r.Submissions
	}
	if r.Submissions > 1 {
		v.Repeated++
	}
	if there.Count > allowed {
		v.DoubleEnrollments += there.Count - allowed
		v.find("%s was enrolled %d times, and its result speaks of %d submissions, possible duplicate %v", o.ID(), there.Count, r.Submissions, r.PossibleDuplicate)
	}
	if r.Outcome == entrustbus.OutcomeUnconfirmed {
		word := "never came by"
		if there.Count > 0 {
			word = "is " + strings.Join(there.Statuses, ", ")
		}
		v.note("%s is held; at the gateway it %s", o.ID(), word)
	}
	if r.Outcome != entrustbus.OutcomeIssued {
		return
	}
	csr, err := x509.ParseCertificateRequest(issue.CSRDER)
	if err != nil {
		v.find("%s: the harness's own request cannot be read: %v", o.ID(), err)
		return
	}
	cert, err := certificateOf(r.CertificatePEM)
	switch {
	case err != nil:
		v.find("%s: %v", o.ID(), err)
	case !slices.Equal(cert.RawSubjectPublicKeyInfo, csr.RawSubjectPublicKeyInfo):
		v.find("%s: the certificate's key is not the request's", o.ID())
	case !slices.Equal(cert.DNSNames, csr.DNSNames):
		v.find("%s: the certificate's names are not the request's", o.ID())
	case !slices.Contains(there.Serials, r.Serial):
		v.find("%s: the gateway did not issue the certificate for this order", o.ID())
	}
}

func certificateOf(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the result holds no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// letterFor is the dead letter that belongs to an outcome, "" for none.
func letterFor(kind entrustbus.Kind, r *entrustbus.Result) deadletter.Reason {
	if r.Error != nil && r.Error.Code == "crashed" {
		return deadletter.Crashed
	}
	switch r.Outcome {
	case entrustbus.OutcomeUnconfirmed:
		return deadletter.Unconfirmed
	case entrustbus.OutcomeExpired:
		return deadletter.Expired
	case entrustbus.OutcomeRejected:
		return deadletter.Rejected
	case entrustbus.OutcomeFailed:
		switch {
		case kind == entrustbus.KindCancel:
			return "" // it came too late, or knows no such order: the producer can act on that
		case r.Error != nil && r.Error.Code == "invalid_request":
			return deadletter.Invalid
		case r.Error != nil && r.Error.Code == "wrong_certificate":
			return deadletter.WrongCertificate
		}
		return deadletter.Rejected
	}
	return ""
}

// judgeLetters wants exactly one dead letter where an operator can act, and none
// elsewhere. A worker that died between the letter and the result of an order, which
// then ended otherwise, leaves a letter behind: that is worth a note.
func (s *Site) judgeLetters(v *Verdict, ev *evidence, o *Order, r *entrustbus.Result) {
	want := letterFor(o.Request.Kind(), r)
	count := map[deadletter.Reason]int{}
	for _, l := range ev.letters[o.ID()] {
		count[l.Reason]++
	}
	if count[deadletter.Invalid] < o.Clashes {
		v.find("%s: %d other requests came under its id, and %d dead letters tell", o.ID(), o.Clashes, count[deadletter.Invalid])
	}
	if want != "" && count[want] == 0 {
		v.find("%s ended as %s without a dead letter %s", o.ID(), r.Outcome, want)
	}
	for reason, n := range count {
		most := 1
		if reason == deadletter.Invalid {
			most = max(o.Clashes+o.MaybeClashes, 1)
		}
		if n > most {
			v.find("%s has %d dead letters %s, want at most %d", o.ID(), n, reason, most)
		}
		if reason != want && (reason != deadletter.Invalid || o.Clashes == 0) {
			v.StaleLetters++
			v.note("%s ended as %s and has a dead letter %s of a worker that died", o.ID(), r.Outcome, reason)
		}
	}
}

// judgeLedger wants the record to say what the result says.
func (s *Site) judgeLedger(v *Verdict, o *Order, r *entrustbus.Result) {
	rec, err := s.record(o.ID())
	switch {
	case err != nil:
		v.find("%s: %v", o.ID(), err)
	case rec.State != "closed":
		v.find("%s has a result, and the ledger says %s", o.ID(), rec.State)
	case rec.Outcome != r.Outcome:
		v.find("%s ended as %s, and the ledger says %s", o.ID(), r.Outcome, rec.Outcome)
	}
}

// record reads an order's ledger record as a producer does.
func (s *Site) record(id string) (*entrustbus.Order, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m, err := streams.Last(ctx, s.JS, "KV_"+s.Layout.Orders, "$KV."+s.Layout.Orders+"."+Producer+"."+id)
	if err != nil {
		return nil, fmt.Errorf("reading the ledger: %w", err)
	}
	return entrustbus.DecodeOrder(m.Data)
}

func (s *Site) ledgerWord(id string) string {
	rec, err := s.record(id)
	if err != nil {
		return err.Error()
	}
	return rec.State
}

// judgePolls wants no poll before the shortest wait of the schedule, nor before the
// first wake-up, and notes polls after the result.
func (s *Site) judgePolls(v *Verdict, ev *evidence, id string, there gatewaytest.Enrollment) {
	// The simulator counts whole milliseconds from the enrollment.
	const rounding = 2 * time.Millisecond
	first := time.Time{}
	for _, w := range ev.wakes[Producer+"."+id] {
		if first.IsZero() || w.Stored.Before(first) {
			first = w.Stored
		}
	}
	for i, tracking := range there.TrackingIDs {
		polls, err := s.Gateway.PollsOf(tracking)
		if err != nil || polls.Count == 0 {
			continue
		}
		earliest := there.Enrolled[i].Add(s.Settings.firstPoll())
		if s.Replicas == 1 && s.Witness.sawAll() && first.After(earliest) {
			earliest = first
		}
		if early := earliest.Sub(polls.First); early > rounding {
			v.EarlyPolls++
			v.find("%s was polled %v early", id, early)
		}
		if stored, ok := ev.stored[id]; ok && polls.Last.After(stored.Add(rounding)) {
			v.LatePolls++
			v.note("%s was polled %v after its result was stored", id, polls.Last.Sub(stored).Round(time.Millisecond))
		}
	}
}

// wakes wants no wake-up before its time.
func (s *Site) wakes(v *Verdict, ev *evidence) {
	for key, wakes := range ev.wakes {
		for _, w := range wakes {
			if w.Stored.Before(w.Due) {
				v.EarlyPolls++
				v.find("%s was woken %v early", key, w.Due.Sub(w.Stored))
			}
		}
	}
}

// strangers wants no result that nobody asked for.
func (s *Site) strangers(v *Verdict, ev *evidence, orders []*Order) {
	known := map[string]bool{}
	for _, o := range orders {
		known[o.ID()] = true
	}
	for id := range ev.results {
		if !known[id] {
			v.find("there is a result of %s, which nobody asked for", id)
		}
	}
}

// judgeRevocation wants the certificate to be revoked at the gateway too.
func (s *Site) judgeRevocation(v *Verdict, q *entrustbus.Revoke, r *entrustbus.Result) {
	for _, rev := range s.Gateway.Revocations() {
		if rev.Serial == r.Serial && (rev.Standing == "revoked" || rev.Standing == "held") {
			return
		}
	}
	v.find("%s ended as revoked, and the certificate is not at the gateway", q.ID)
}

// Results waits until every order has a result, or ctx is done. It returns the
// number of those that have none yet.
func (s *Site) Results(ctx context.Context, orders ...*Order) (missing int, err error) {
	subjects := s.Layout.Subjects()
	consumer, err := s.JS.OrderedConsumer(ctx, s.Layout.Results, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return len(orders), fmt.Errorf("reading the results: %w", err)
	}
	waiting := map[string]bool{}
	for _, o := range orders {
		waiting[o.ID()] = true
	}
	messages, err := consumer.Messages()
	if err != nil {
		return len(orders), fmt.Errorf("reading the results: %w", err)
	}
	defer messages.Stop()
	for len(waiting) > 0 {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return len(waiting), fmt.Errorf("waiting for the results: %w", err)
		}
		if _, id, err := subjects.ParseOrder(msg.Subject()); err == nil {
			delete(waiting, id)
		}
	}
	return 0, nil
}
