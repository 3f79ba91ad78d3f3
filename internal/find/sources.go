package find

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// letters reads the dead letters backwards. A dead letter never changes, but its order
// may have been replayed since: the record decides.
func (s *search) letters(ctx context.Context, done func() bool) error {
	for m, err := range streams.ScanBack(ctx, s.js, s.layout.Dead, s.subjects.Dead(s.producer(), "*")) {
		if err != nil {
			return s.failed("dead letters", err)
		}
		if done() {
			return nil
		}
		l, err := deadletter.Parse(s.subjects, m.Sequence, m.Subject, m.Header, m.Data)
		if err != nil || l.Key.ID == "" || s.q.Kind != "" && l.Kind != s.q.Kind {
			continue
		}
		if !s.q.After.IsZero() && m.Time.Before(s.q.After) {
			return nil
		}
		if s.q.TrackingID != "" && l.TrackingID != s.q.TrackingID && s.q.Outcome == "" {
			continue
		}
		asked := func(o *timeline.Facts) { o.Asked(s.subjects, &l.Request, 0) }
		if s.q.Name != "" && !mayName(l.Request.Body, s.q.Name) {
			continue
		}
		if s.q.Name != "" {
			// Compare the dead letter's names first, because reading a record costs a
			// call.
			o := new(timeline.Facts)
			if asked(o); !s.q.named(o) {
				continue
			}
		}
		if err := s.take(ctx, l.Key, asked); err != nil {
			return err
		}
	}
	return nil
}

// parked reads the wake-ups backwards. For a wake-up that an older worker wrote without a
// phase, the record decides.
func (s *search) parked(ctx context.Context, done func() bool) error {
	for w, err := range s.wakeups.Newest(ctx) {
		switch {
		case errors.Is(err, order.ErrNewerFormat), err == nil:
		default:
			return s.failed("wake-ups", err)
		}
		if done() {
			return nil
		}
		if w.Wakeup == nil || s.seen[w.Key] || !s.mayChoose(w.Wakeup) {
			continue
		}
		if err := s.take(ctx, w.Key, func(o *timeline.Facts) { o.NextWakeup, o.Polls = w.Due, w.Polls }); err != nil {
			return err
		}
	}
	return nil
}

// mayChoose reports whether the query may select the order of a wake-up.
func (s *search) mayChoose(w *order.Wakeup) bool {
	q := &s.q
	switch {
	case q.Producer != "" && w.Key.Producer != q.Producer,
		q.Kind != "" && w.Kind != q.Kind,
		len(q.Phases) > 0 && w.Phase != "" && !slices.Contains(q.Phases, w.Phase),
		q.TrackingID != "" && w.TrackingID != q.TrackingID,
		!q.WakeupBefore.IsZero() && w.Due.After(q.WakeupBefore),
		!q.DeadlineBefore.IsZero() && (w.Deadline.IsZero() || w.Deadline.After(q.DeadlineBefore)):
		return false
	case q.Name != "":
		if w.Request == nil || !mayName(w.Request.Body, q.Name) {
			return false
		}
		o := new(timeline.Facts)
		o.Asked(s.subjects, w.Request, 0)
		return q.named(o)
	}
	// Among many orders that wait for approval, those in trouble are past their deadline.
	// Failing polls show in the ledger.
	return !q.Trouble || w.Phase != order.Awaiting || s.now().After(w.Deadline)
}

// results reads the results backwards, for names of certificates.
func (s *search) results(ctx context.Context, done func() bool) error {
	for m, err := range streams.ScanBack(ctx, s.js, s.layout.Results, s.subjects.Result(s.producer(), "*")) {
		if err != nil {
			return s.failed("results", err)
		}
		if done() {
			s.found.Since = m.Time
			return nil
		}
		if !s.q.After.IsZero() && m.Time.Before(s.q.After) {
			return nil
		}
		enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		if err != nil {
			continue
		}
		r, err := entrustbus.DecodeResult(enc, m.Data)
		if err != nil || r.CertificatePEM == "" {
			continue
		}
		issued := func(o *timeline.Facts) { o.Issued(r) }
		o := new(timeline.Facts)
		if issued(o); !s.q.named(o) {
			continue
		}
		if err := s.take(ctx, order.Key{Producer: r.Producer, ID: r.ID}, issued); err != nil {
			return err
		}
	}
	return nil
}

// mayName reports whether a request may ask for a name that contains text. Reading a
// request includes the check of its signature, which costs ten times as much as finding
// it. mayName returns true for a JSON request without a PEM block, because its CSR is in
// base64.
func mayName(body []byte, text string) bool {
	if strings.Trim(text, "0123456789abcdefABCDEF.:") == "" {
		return true // it may be an address, which DER stores as a number
	}
	holds := func(data []byte) bool { return bytes.Contains(bytes.ToLower(data), []byte(strings.ToLower(text))) }
	if holds(body) {
		return true
	}
	at := bytes.Index(body, []byte("-----BEGIN "))
	if at < 0 {
		return len(body) > 0 && body[0] == '{'
	}
	block, _ := pem.Decode(bytes.ReplaceAll(body[at:], []byte(`\n`), []byte("\n")))
	return block == nil || holds(block.Bytes)
}
