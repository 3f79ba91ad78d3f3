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

// New returns a finder. It does not touch the server. now is the clock that ages are told by.
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

// Found is what a search brought.
type Found struct {
	// Orders are those that were found, the one that changed last first.
	Orders []*timeline.Facts
	// More says that more than the limit was found.
	More bool
	// Since is back to when every order was looked at, by its last change. It is zero where all
	// were. Older ones were found by an index only, or not at all.
	Since time.Time
}

// Newest finds orders, at most limit, in about the given time. A limit of 0 is none; neither is
// a time of 0. It holds what it finds in memory. Where a source fails, the error comes beside
// what was found.
func (f *Finder) Newest(ctx context.Context, q Query, limit int, within time.Duration) (*Found, error) {
	s := &search{Finder: f, q: q, limit: limit, began: time.Now(), within: within, seen: map[order.Key]bool{}, found: &Found{}}
	err := s.run(ctx)
	out := s.found
	slices.SortStableFunc(out.Orders, func(a, b *timeline.Facts) int { return b.Updated.Compare(a.Updated) })
	if limit > 0 && len(out.Orders) > limit {
		// Everything that changed later than these was looked at.
		out.Orders, out.More, out.Since = out.Orders[:limit], true, time.Time{}
	}
	for _, o := range out.Orders[:min(len(out.Orders), maxDescribed)] {
		if missing := f.describe(ctx, o); missing != nil {
			return out, errors.Join(err, missing)
		}
	}
	return out, err
}

// maxDescribed is of how many orders Newest reads what their record does not say.
const maxDescribed = 200

// describe reads the wake-up of an order that waits, and the names of a certificate that was
// issued.
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

// All yields every order that the query chooses, the one that changed last first. Name and
// WakeupBefore do not count: use Newest for them. A record that cannot be read is yielded as an
// error, and the search goes on; an error of the server ends it.
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

// search is one search under way.
type search struct {
	*Finder
	q      Query
	limit  int
	began  time.Time
	within time.Duration
	seen   map[order.Key]bool
	found  *Found
}

// source is one part of the bus that a search reads, until done reports that it took its time
// or brought enough.
type source func(ctx context.Context, done func() bool) error

// run reads the sources, one after the other. Each but the last takes at most three quarters of
// the time that is left: what is found by an index counts more than how far the ledger is read.
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
	case s.q.WakeupBefore.IsZero(): // a record does not say it
		all = append(all, s.records)
	}
	var failed []error
	for i, read := range all {
		before := len(s.found.Orders)
		if i > 0 && s.q.Serial != "" && before > 0 {
			break // a serial number names one order, and its revocations
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

// take takes in an order that a source names, if the query chooses it. more completes the facts
// that the record does not have; nil: nothing does.
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

// producer is the producer of the query as a subject filter has it.
func (s *search) producer() string { return cmp.Or(s.q.Producer, "*") }

func (s *search) failed(what string, err error) error {
	return fmt.Errorf("looking for orders among %s: %w", what, err)
}

// bySerial asks the bucket of certificates.
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
			return nil // no record is older than its request
		}
		if !s.seen[e.Key] {
			s.seen[e.Key] = true
			s.choose(timeline.FactsOf(e.Key, e.Stored, s.now()), e.Stored, nil)
		}
	}
	return nil
}
