package timeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// Config configures a Reader. JS and Layout are required.
type Config struct {
	JS     jetstream.JetStream
	Layout streams.Layout
	// Obstacles reads the obstacles of orders. Nil: stories leave them out.
	Obstacles Obstacles
	// Now returns the time for ages. Nil: the host's clock.
	Now func() time.Time
}

// Reader reads stories. Make one with New. It is safe for concurrent use.
type Reader struct {
	Config
	subjects entrustbus.Subjects
	ledger   *ledger.Ledger
	wakeups  *wakeup.Store
	letters  *deadletter.Box
}

// New returns a reader. It does not touch the server.
func New(cfg Config) *Reader {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	subjects := cfg.Layout.Subjects()
	return &Reader{
		Config: cfg, subjects: subjects,
		ledger:  ledger.New(cfg.JS, cfg.Layout.Orders),
		wakeups: wakeup.New(cfg.JS, cfg.Layout.Parked, subjects),
		letters: deadletter.New(cfg.JS, cfg.Layout.Dead, subjects),
	}
}

// Facts reads the facts of an order: its record, its wake-up and its request, and why it
// waits. It costs two or three reads. The error is ErrUnknown, an error of ledger.Get, or
// a server error.
func (r *Reader) Facts(ctx context.Context, key order.Key) (*Facts, error) {
	rec, err := r.record(ctx, key)
	if err != nil {
		return nil, err
	}
	t := r.telling(key, rec)
	if rec.Phase == "" && !t.queued(ctx) {
		return nil, fmt.Errorf("order %s: %w", key, ErrUnknown)
	}
	t.wakeup(ctx)
	t.story.Asked(r.subjects, rec.Request, rec.Validity)
	t.waits(ctx)
	return &t.story.Facts, nil
}

// Read reads the story of an order. It costs about ten reads, plus at most maxRead dead
// letters and maxRead audit records. It returns the same errors as Facts. If any source
// but the record cannot be read, the story has a note instead.
func (r *Reader) Read(ctx context.Context, key order.Key) (*Story, error) {
	rec, err := r.record(ctx, key)
	if err != nil {
		return nil, err
	}
	t := r.telling(key, rec)
	t.results(ctx)
	if rec.Phase == "" && !t.queued(ctx) && len(t.story.Entries) == 0 {
		return nil, fmt.Errorf("order %s: %w", key, ErrUnknown)
	}
	if raw := rec.Request; raw != nil {
		t.story.Asked(r.subjects, raw, rec.Validity)
	} else if !rec.Phase.Ended() {
		t.story.Asked(r.subjects, t.kept(ctx), rec.Validity)
	}
	t.recorded()
	t.wakeup(ctx)
	t.deadLetters(ctx)
	t.audited(ctx)
	t.waits(ctx)
	// A worker's clock may be behind the server's, so the request is sorted first.
	first := func(e Entry) int {
		if e.What == Received {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(t.story.Entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Replay, b.Replay), cmp.Compare(first(a), first(b)), a.Time.Compare(b.Time))
	})
	return t.story, nil
}

// record reads the record of an order; the zero record if there is none. Of a record with
// a newer format it returns the part that it can read.
func (r *Reader) record(ctx context.Context, key order.Key) (order.Stored, error) {
	rec, err := r.ledger.Get(ctx, key)
	if errors.Is(err, order.ErrNewerFormat) {
		err = nil
	}
	return rec, err
}

// telling is a story in progress.
type telling struct {
	*Reader
	key   order.Key
	rec   order.Stored
	now   time.Time
	story *Story
	// moments are times near which the order's dead letters and audit records are
	// expected.
	moments []time.Time
	waiting *waiting
}

func (r *Reader) telling(key order.Key, rec order.Stored) *telling {
	now := r.Now()
	t := &telling{Reader: r, key: key, rec: rec, now: now, story: &Story{Facts: *FactsOf(key, rec, now)}}
	t.moment(rec.RequestedAt, rec.SubmittedAt, rec.At)
	return t
}

func (t *telling) moment(all ...time.Time) {
	for _, at := range all {
		if !at.IsZero() {
			t.moments = append(t.moments, at)
		}
	}
}

func (t *telling) add(at time.Time, what What, replay int, source Source, detail string) {
	if at.IsZero() {
		return
	}
	t.story.Entries = append(t.story.Entries, Entry{Time: at.UTC(), What: what, Replay: replay, Source: source, Detail: detail})
}

func (t *telling) note(format string, args ...any) {
	t.story.Notes = append(t.story.Notes, fmt.Sprintf(format, args...))
}
