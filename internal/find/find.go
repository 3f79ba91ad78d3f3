package find

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/results"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// Finder finds orders. Make one with New. It is safe for concurrent use.
type Finder struct {
	js       jetstream.JetStream
	layout   streams.Layout
	subjects entrustbus.Subjects
	now      func() time.Time
	ledger   *ledger.Ledger
	wakeups  *wakeup.Store
	certs    *certs.Store
	results  *results.Store
}

// New returns a finder. It does not touch the server. now is the clock for ages.
func New(js jetstream.JetStream, layout streams.Layout, now func() time.Time) *Finder {
	return &Finder{
		js: js, layout: layout, now: now,
		ledger:   ledger.New(js, layout.Orders),
		wakeups:  wakeup.New(js, layout.Parked, layout.Subjects()),
		certs:    certs.New(js, layout.Certs),
		results:  results.New(js, layout.Results, layout.Subjects()),
		subjects: layout.Subjects(),
	}
}

// Found is the result of a search.
type Found struct {
	// Orders are the orders found, the last changed first.
	Orders []*timeline.Facts
	// More says that the search found more orders than the limit.
	More bool
	// Since is the time back to which the search read every order, by the order's last
	// change. It is zero if the search read all. Older orders were found by an index
	// only, or not at all.
	Since time.Time
}

// Newest finds orders, at most limit, in about the given time. 0 means no limit, for
// both. It keeps its findings in memory. If a source fails, Newest returns the error
// together with the findings.
func (f *Finder) Newest(ctx context.Context, q Query, limit int, within time.Duration) (*Found, error) {
	s := &search{Finder: f, q: q, limit: limit, began: time.Now(), within: within, seen: map[order.Key]bool{}, found: &Found{}}
	err := s.run(ctx)
	out := s.found
	slices.SortStableFunc(out.Orders, func(a, b *timeline.Facts) int { return b.Updated.Compare(a.Updated) })
	if limit > 0 && len(out.Orders) > limit {
		// The search read every order that changed later than these.
		out.Orders, out.More, out.Since = out.Orders[:limit], true, time.Time{}
	}
	for _, o := range out.Orders[:min(len(out.Orders), maxDescribed)] {
		if missing := f.describe(ctx, o); missing != nil {
			return out, errors.Join(err, missing)
		}
	}
	return out, err
}

// maxDescribed bounds the orders for which Newest reads more than their record.
const maxDescribed = 200

// describe reads the wake-up of a waiting order, and the names of an issued certificate.
func (f *Finder) describe(ctx context.Context, o *timeline.Facts) error {
	switch {
	case o.Phase.Waits() && o.NextWakeup.IsZero():
		w, _, err := f.wakeups.Find(ctx, o.Key())
		if err != nil && !errors.Is(err, wakeup.ErrNewerFormat) {
			return err
		}
		if w != nil {
			o.NextWakeup, o.Polls = w.Due, w.Polls
		}
	case o.Outcome == entrustbus.OutcomeIssued && len(o.Names) == 0:
		r, _, err := f.results.Last(ctx, o.Key())
		if err != nil {
			return err
		}
		if r != nil {
			o.Issued(r)
		}
	}
	return nil
}

// All yields every order that the query selects, the last changed first. It ignores Name
// and WakeupBefore: use Newest for them. For a record that cannot be read, All yields an
// error and continues. A server error ends it.
func (f *Finder) All(ctx context.Context, q Query) iter.Seq2[*timeline.Facts, error] {
	return func(yield func(*timeline.Facts, error) bool) {
		for e, err := range f.ledger.Newest(ctx) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if o := timeline.FactsOf(e.Key, e.Stored, f.now()); q.Match(o) && !yield(o, nil) {
				return
			}
		}
	}
}

// search is one running search.
type search struct {
	*Finder
	q      Query
	limit  int
	began  time.Time
	within time.Duration
	seen   map[order.Key]bool
	found  *Found
}

// source reads one part of the bus, until done reports that its time is over or that it
// found enough.
type source func(ctx context.Context, done func() bool) error

// run reads the sources one after the other. Each but the last takes at most three
// quarters of the time left: findings by an index count more than the depth of the ledger
// scan.
func (s *search) run(ctx context.Context) error {
	var all []source
	if s.q.Serial != "" {
		all = append(all, s.bySerial)
	}
	if s.q.ends() {
		all = append(all, s.letters)
	}
	if s.q.waits() {
		all = append(all, s.parked)
	}
	switch {
	case s.q.Name != "":
		all = append(all, s.results)
	case s.q.WakeupBefore.IsZero(): // a record does not contain it
		all = append(all, s.records)
	}
	var failed []error
	for i, read := range all {
		before := len(s.found.Orders)
		if i > 0 && s.q.Serial != "" && before > 0 {
			break // a serial number names one order and its revocations
		}
		left := s.within - time.Since(s.began)
		if i < len(all)-1 {
			left = left * 3 / 4
		}
		begun := time.Now()
		if err := read(ctx, func() bool {
			return s.limit > 0 && len(s.found.Orders)-before > s.limit || s.within > 0 && time.Since(begun) > left
		}); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// take adds an order that a source names, if the query selects it. more adds facts that
// the record does not have; it may be nil.
func (s *search) take(ctx context.Context, key order.Key, more func(*timeline.Facts)) error {
	if s.seen[key] || s.q.Producer != "" && s.q.Producer != key.Producer {
		return nil
	}
	s.seen[key] = true
	rec, err := s.ledger.Get(ctx, key)
	if err != nil && !errors.Is(err, order.ErrNewerFormat) {
		return err
	}
	if rec.Phase == "" {
		return nil
	}
	s.choose(timeline.FactsOf(key, rec, s.now()), rec, more)
	return nil
}

func (s *search) choose(o *timeline.Facts, rec order.Stored, more func(*timeline.Facts)) {
	if !s.q.Match(o) {
		return
	}
	o.Asked(s.subjects, rec.Request, rec.Validity)
	if more != nil {
		more(o)
	}
	if s.q.named(o) {
		s.found.Orders = append(s.found.Orders, o)
	}
}

// producer returns the query's producer as a token of a subject filter.
func (s *search) producer() string { return cmp.Or(s.q.Producer, "*") }

func (s *search) failed(what string, err error) error {
	return fmt.Errorf("looking for orders among %s: %w", what, err)
}

// bySerial reads the bucket of certificates.
func (s *search) bySerial(ctx context.Context, _ func() bool) error {
	all, err := s.certs.Find(ctx, s.q.Serial)
	if err != nil {
		return s.failed("certificates", err)
	}
	for _, c := range all {
		if err := s.take(ctx, order.Key{Producer: c.Producer, ID: c.Order}, nil); err != nil {
			return err
		}
	}
	return nil
}

// records reads the ledger backwards.
func (s *search) records(ctx context.Context, done func() bool) error {
	for e, err := range s.ledger.Newest(ctx) {
		switch {
		case errors.Is(err, order.ErrNewerFormat) || err == nil:
		case errors.Is(err, order.ErrNotARecord):
			continue // the watchdog reports it
		default:
			return err
		}
		if done() {
			s.found.Since = e.At
			return nil
		}
		if !s.q.After.IsZero() && e.At.Before(s.q.After) {
			return nil // a record is never older than its request
		}
		if !s.seen[e.Key] {
			s.seen[e.Key] = true
			s.choose(timeline.FactsOf(e.Key, e.Stored, s.now()), e.Stored, nil)
		}
	}
	return nil
}
