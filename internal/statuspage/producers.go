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
	// maxRecent is how many of the newest results the list of producers counts. More cover
	// a longer time, and cost memory and a longer first reading.
	maxRecent = 2000
	// maxProducers bounds the rows of the list.
	maxProducers = 20
)

// Recent counts the newest results by producer. It reads the stream of results only when it
// is asked, and then what is new. It is safe for concurrent use.
type Recent struct {
	js       jetstream.JetStream
	stream   string
	subjects entrustbus.Subjects

	mu      sync.Mutex
	made    time.Time // of the stream
	next    uint64    // the sequence to read from
	results []recentResult
}

type recentResult struct {
	at       time.Time
	producer string
	outcome  entrustbus.Outcome // empty where the result cannot be read
}

// NewRecent counts the results in a stream. It does not touch the server.
func NewRecent(js jetstream.JetStream, stream string, subjects entrustbus.Subjects) *Recent {
	return &Recent{js: js, stream: stream, subjects: subjects}
}

// Producer is what the newest results say of one producer.
type Producer struct {
	Name string
	// Results is how many of the newest results are the producer's, Failed how many of them
	// neither issued, revoked nor cancelled anything.
	Results, Failed int
	// Last is when the newest was stored.
	Last time.Time
}

// Producers are the producers of the newest results, those with most failures first.
type Producers struct {
	List []Producer
	// Results is how many results were counted, and Since when the oldest of them was stored.
	Results int
	Since   time.Time
	// Left is how many producers are not in the list.
	Left int
}

// Read reads what is new, and counts the results of the last hour, of which it keeps the
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
	// Of a busy stream only its end is read.
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

// follow reads up to a sequence.
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

// count counts the results that were stored after an instant.
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
