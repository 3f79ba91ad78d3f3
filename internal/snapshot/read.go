package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// readTime bounds the reading of one part.
const readTime = 5 * time.Second

var errNotConnected = errors.New("not connected to NATS")

// Reader reads snapshots of one fleet. Make one with New. It is safe for concurrent use,
// one reading at a time.
type Reader struct {
	js      jetstream.JetStream
	layout  streams.Layout
	letters *deadletter.Box

	reading sync.Mutex // held during one Read
	last    Snapshot
}

// New returns a reader. It does not touch the server.
func New(js jetstream.JetStream, layout streams.Layout) *Reader {
	return &Reader{js: js, layout: layout, letters: deadletter.New(js, layout.Dead, layout.Subjects())}
}

// Read reads the streams and then the other parts concurrently. It returns within about
// 10 s. A part that cannot be read keeps the values of the last Read, with the problem.
func (r *Reader) Read(ctx context.Context) Snapshot {
	r.reading.Lock()
	defer r.reading.Unlock()
	s := r.last
	nc := r.js.Conn()
	s.NATS.Connected, s.NATS.Problem = nc.IsConnected(), ""
	if s.NATS.Connected {
		s.NATS.URL, s.NATS.Version = nc.ConnectedUrlRedacted(), nc.ConnectedServerVersion()
	} else {
		s.NATS.Problem = oneLine(notConnected(nc))
	}
	// Reading the streams measures the server's time, which the other parts need.
	read(ctx, r, &s.Streams, func(ctx context.Context) ([]Stream, error) {
		all, clock, err := r.readStreams(ctx)
		if err == nil {
			s.NATS.Answered, s.NATS.RTT, s.NATS.Skew = time.Now().UTC(), clock.rtt, clock.skew
		}
		return all, err
	})
	skew := s.NATS.Skew
	var parts sync.WaitGroup
	parts.Go(func() {
		read(ctx, r, &s.Fleet, func(ctx context.Context) (control.State, error) {
			return control.ReadState(ctx, r.js, r.layout.Control, skew)
		})
	})
	parts.Go(func() {
		read(ctx, r, &s.Lanes, func(ctx context.Context) ([]Lane, error) { return r.lanesSince(ctx, skew) })
	})
	parts.Go(func() { read(ctx, r, &s.Parked, r.Parked) })
	parts.Go(func() {
		read(ctx, r, &s.Letters, func(ctx context.Context) ([]Letters, error) { return r.lettersSince(ctx, skew) })
	})
	parts.Wait()
	if s.NATS.Problem == "" && s.Fleet.Stale() && s.Lanes.Stale() && s.Parked.Stale() && s.Letters.Stale() && s.Streams.Stale() {
		if s.NATS.Problem = "JetStream does not answer: " + s.Streams.Problem; !nc.IsConnected() {
			s.NATS.Connected, s.NATS.Problem = false, oneLine(notConnected(nc))
		}
	}
	s.At = time.Now().UTC()
	r.last = s
	return s
}

// read reads one part. After a failure the part keeps its values.
func read[T any](ctx context.Context, r *Reader, p *Part[T], of func(context.Context) (T, error)) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	at := time.Now().UTC()
	var value T
	err := errNotConnected
	if r.js.Conn().IsConnected() {
		value, err = of(ctx)
	}
	if err != nil {
		p.Problem = oneLine(err.Error())
		return
	}
	*p = Part[T]{At: at, Of: value}
}

func notConnected(nc *nats.Conn) string {
	if err := nc.LastError(); err != nil {
		return fmt.Sprintf("%v: %v", errNotConnected, err)
	}
	return errNotConnected.Error()
}

// oneLine turns an error into one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// Parked reads the number of parked orders.
func (r *Reader) Parked(ctx context.Context) (Parked, error) {
	st, err := r.js.Stream(ctx, r.layout.Parked)
	if err != nil {
		return Parked{}, fmt.Errorf("reading the stream %s: %w", r.layout.Parked, err)
	}
	return Parked{Orders: st.CachedInfo().State.Msgs}, nil
}

// Letters counts the dead letters by reason.
func (r *Reader) Letters(ctx context.Context) ([]Letters, error) { return r.lettersSince(ctx, 0) }

func (r *Reader) lettersSince(ctx context.Context, skew time.Duration) ([]Letters, error) {
	depths, err := r.letters.Depths(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Letters, len(depths))
	for i, d := range depths {
		all[i] = Letters{Reason: d.Reason, Count: d.Letters, Fullness: float64(d.Most) / float64(r.layout.DeadPerReason)}
		if !d.Oldest.IsZero() {
			all[i].Oldest = d.Oldest.Add(-skew)
		}
	}
	return all, nil
}
