package ruletest

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// store holds series in memory, as the engine reads them.
type store struct{ series map[string]*series }

type series struct {
	labels  labels.Labels
	samples []chunks.Sample
}

// add adds a sample to a series. Samples of one series come in the order of time.
func (s *store) add(l labels.Labels, at time.Time, value float64) {
	key := l.String()
	if s.series[key] == nil {
		s.series[key] = &series{labels: l}
	}
	s.series[key].samples = append(s.series[key].samples, sample{at.UnixMilli(), value})
}

func (s *store) Querier(int64, int64) (storage.Querier, error) { return querier{s}, nil }

type querier struct{ s *store }

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &found{at: -1}
	for _, key := range slices.Sorted(maps.Keys(q.s.series)) {
		one := q.s.series[key]
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(one.labels.Get(m.Name)) }) {
			set.series = append(set.series, storage.NewListSeries(one.labels, one.samples))
		}
	}
	return set
}

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) Close() error { return nil }

type found struct {
	series []storage.Series
	at     int
}

func (f *found) Next() bool                        { f.at++; return f.at < len(f.series) }
func (f *found) At() storage.Series                { return f.series[f.at] }
func (f *found) Err() error                        { return nil }
func (f *found) Warnings() annotations.Annotations { return nil }

type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// The store gives back what it was given: a test that sees no alert must not be one without data.
func TestStore(t *testing.T) {
	t.Parallel()
	s := &store{series: map[string]*series{}}
	s.add(labels.FromStrings("__name__", "a", "x", "1"), time.Unix(1, 0), 7)
	s.add(labels.FromStrings("__name__", "a", "x", "2"), time.Unix(1, 0), 8)
	set := querier{s}.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "x", "2"))
	n := 0
	for set.Next() {
		n++
		it := set.At().Iterator(nil)
		it.Next()
		if _, v := it.At(); v != 8 {
			t.Errorf("the sample is %v", v)
		}
	}
	if n != 1 {
		t.Errorf("%d series match, want 1", n)
	}
}
