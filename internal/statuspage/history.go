package statuspage

import (
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// historyFor is the range of the plots, sampleEvery the interval between two points.
	historyFor  = time.Hour
	sampleEvery = 15 * time.Second
)

// sample is the plots' data of one reading of the bus.
type sample struct {
	at time.Time
	// results and letters are the last sequences of their streams. The difference of two
	// samples is the number of published messages.
	results, letters          uint64
	backlog, inFlight, parked float64
}

// history keeps the samples of the last hour in memory. It is safe for concurrent use.
type history struct {
	// streams names the streams of results and of dead letters.
	streams streams.Layout

	mu      sync.Mutex
	samples []sample // by time
}

// take adds the sample of a reading. A reading that failed in part leaves a gap.
func (h *history) take(s snapshot.Snapshot) {
	if s.Streams.Stale() || s.Lanes.Stale() || s.Parked.Stale() || !s.Streams.Known() {
		return
	}
	taken := sample{at: s.At, parked: float64(s.Parked.Of.Orders)}
	for _, lane := range s.Lanes.Of {
		taken.backlog += float64(lane.Backlog)
		taken.inFlight += float64(lane.InFlight)
	}
	for _, st := range s.Streams.Of {
		switch st.Name {
		case h.streams.Results:
			taken.results = st.Sequence
		case h.streams.Dead:
			taken.letters = st.Sequence
		}
	}
	h.add(taken)
}

// add keeps a sample, unless the previous sample is too recent.
func (h *history) add(s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.samples); n > 0 && s.at.Sub(h.samples[n-1].at) < sampleEvery-time.Second {
		return
	}
	h.samples = append(h.samples, s)
	old := 0
	for old < len(h.samples) && s.at.Sub(h.samples[old].at) > historyFor {
		old++
	}
	h.samples = append(h.samples[:0:0], h.samples[old:]...)
}

// point is a value at a time.
type point struct {
	at    time.Time
	value float64
}

// values returns one value of each sample.
func (h *history) values(of func(sample) float64) []point {
	h.mu.Lock()
	defer h.mu.Unlock()
	points := make([]point, len(h.samples))
	for i, s := range h.samples {
		points[i] = point{s.at, of(s)}
	}
	return points
}

// rates returns the growth of a sequence per minute, at each sample but the first. If a
// sequence fell, the stream was made again, and there is no value.
func (h *history) rates(of func(sample) uint64) []point {
	h.mu.Lock()
	defer h.mu.Unlock()
	var points []point
	for i := 1; i < len(h.samples); i++ {
		before, now := h.samples[i-1], h.samples[i]
		if took := now.at.Sub(before.at).Minutes(); took > 0 && of(now) >= of(before) {
			points = append(points, point{now.at, float64(of(now)-of(before)) / took})
		}
	}
	return points
}
