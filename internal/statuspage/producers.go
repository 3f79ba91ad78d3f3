package statuspage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// maxRecent is how many of the newest results the list of producers counts. A higher
	// number covers a longer time, and costs memory and a longer first reading.
	maxRecent = 2000
	// maxProducers bounds the rows of the list.
	maxProducers = 20
)

// Recent counts the newest results by producer. It reads the stream of results only when
// Read is called, and then only the new results. It is safe for concurrent use.
type Recent struct {
	js       jetstream.JetStream
	stream   string
	subjects entrustbus.Subjects

	mu      sync.Mutex
	made    time.Time // creation time of the stream
	next    uint64    // the sequence to read from
	results []recentResult
}

type recentResult struct {
	at       time.Time
	producer string
	outcome  entrustbus.Outcome // empty if the result cannot be read
}

// NewRecent returns a Recent for a stream of results. It does not touch the server.
func NewRecent(js jetstream.JetStream, stream string, subjects entrustbus.Subjects) *Recent {
	return &Recent{js: js, stream: stream, subjects: subjects}
}

// Producer is the summary of one producer's results.
type Producer struct {
	Name string
	// Results is how many of the newest results are the producer's. Failed is how many of
	// these have another outcome than issued, revoked or cancelled.
	Results, Failed int
	// Last is when the newest result was stored.
	Last time.Time
}

// Producers are the producers of the newest results, sorted by failures, highest first.
type Producers struct {
	List []Producer
	// Results is the number of counted results. Since is when the oldest of them was
	// stored.
	Results int
	Since   time.Time
	// Left is the number of producers that are not in the list.
	Left int
}

// Read reads the new results, and counts the results of the last hour. It keeps the
// newest 2,000.
func (r *Recent) Read(ctx context.Context) (Producers, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	extent, err := streams.ExtentOf(ctx, r.js, r.stream)
	if err != nil {
		return Producers{}, err
	}
	if extent.Made != r.made || extent.Last+1 < r.next {
		r.made, r.next, r.results = extent.Made, 1, nil
	}
	// Read only the end of a busy stream.
	if extent.Last > maxRecent {
		r.next = max(r.next, extent.Last-maxRecent+1)
	}
	if r.next <= extent.Last {
		if err := r.follow(ctx, extent.Last); err != nil {
			return Producers{}, fmt.Errorf("reading the newest results: %w", err)
		}
	}
	return r.count(time.Now().Add(-historyFor)), nil
}

// follow reads results up to a sequence.
func (r *Recent) follow(ctx context.Context, last uint64) error {
	for m, err := range streams.ScanFrom(ctx, r.js, r.stream, r.subjects.ResultFilter(), r.next) {
		if err != nil {
			return err
		}
		r.next = m.Sequence + 1
		producer, _, err := r.subjects.ParseOrder(m.Subject)
		if err != nil {
			continue
		}
		result := recentResult{at: m.Time, producer: producer}
		if enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data); err == nil {
			if decoded, err := entrustbus.DecodeResult(enc, m.Data); err == nil {
				result.outcome = decoded.Outcome
			}
		}
		r.results = append(r.results, result)
		if m.Sequence >= last {
			break
		}
	}
	if n := len(r.results) - maxRecent; n > 0 {
		r.results = slices.Clone(r.results[n:])
	}
	return nil
}

// count counts the results that were stored after a time.
func (r *Recent) count(after time.Time) Producers {
	counted := Producers{}
	by := map[string]Producer{}
	for _, result := range r.results {
		if result.at.Before(after) {
			continue
		}
		if counted.Results == 0 {
			counted.Since = result.at
		}
		counted.Results++
		p := by[result.producer]
		p.Name, p.Last = result.producer, result.at
		p.Results++
		switch result.outcome {
		case entrustbus.OutcomeIssued, entrustbus.OutcomeRevoked, entrustbus.OutcomeCancelled:
		default:
			p.Failed++
		}
		by[result.producer] = p
	}
	for _, p := range by {
		counted.List = append(counted.List, p)
	}
	slices.SortFunc(counted.List, func(a, b Producer) int {
		return cmp.Or(b.Failed-a.Failed, b.Results-a.Results, strings.Compare(a.Name, b.Name))
	})
	if len(counted.List) > maxProducers {
		counted.Left = len(counted.List) - maxProducers
		counted.List = counted.List[:maxProducers]
	}
	return counted
}
