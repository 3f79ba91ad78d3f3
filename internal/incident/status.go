package incident

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Failure is a serial that ended without revocation.
type Failure struct {
	Serial  string `json:"serial"`
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
}

// Status is the progress of an incident.
type Status struct {
	Serials int `json:"serials"`
	Revoked int `json:"revoked"`
	// Failed counts serials that ended otherwise. Failures are the first of them.
	Failed   int       `json:"failed"`
	Failures []Failure `json:"failures,omitempty"`
	// Waiting counts requests that a worker has; Open counts requests that no worker has
	// yet.
	Waiting int `json:"waiting"`
	Open    int `json:"open"`
}

// Report is the status at the end of a run.
type Report struct {
	Status
	Ended time.Time `json:"ended"`
}

// maxFailures bounds the failures in a status.
const maxFailures = 100

// desk reads the bus's data about an incident.
type desk struct {
	js       jetstream.JetStream
	layout   streams.Layout
	subjects entrustbus.Subjects
	producer string

	results map[string]*entrustbus.Result // newest result by id
	waiting map[string]bool               // ids that a worker has and that have no result
	next    uint64                        // stream sequence from which to read results
}

func newDesk(js jetstream.JetStream, layout streams.Layout, i *Incident) *desk {
	return &desk{js: js, layout: layout, subjects: layout.Subjects(), producer: i.Producer(), results: map[string]*entrustbus.Result{}, waiting: map[string]bool{}, next: 1}
}

// readResults reads the results that are new since the last call.
func (d *desk) readResults(ctx context.Context) error {
	for m, err := range streams.ScanFrom(ctx, d.js, d.layout.Results, d.subjects.Result(d.producer, "*"), d.next) {
		if err != nil {
			return fmt.Errorf("reading the results of %s: %w", d.producer, err)
		}
		d.next = m.Sequence + 1
		enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		if err != nil {
			return fmt.Errorf("reading the result %d: %w", m.Sequence, err)
		}
		r, err := entrustbus.DecodeResult(enc, m.Data)
		if err != nil {
			return fmt.Errorf("reading the result %d: %w", m.Sequence, err)
		}
		if old := d.results[r.ID]; old == nil || r.Replay >= old.Replay {
			d.results[r.ID] = r
		}
		delete(d.waiting, r.ID)
	}
	return nil
}

// records returns the ids that have a ledger record.
func (d *desk) records(ctx context.Context) (map[string]bool, error) {
	prefix := "$KV." + d.layout.Orders + "." + d.producer + "."
	ids := map[string]bool{}
	for m, err := range streams.Scan(ctx, d.js, "KV_"+d.layout.Orders, prefix+"*") {
		if err != nil {
			return nil, fmt.Errorf("reading the ledger records of %s: %w", d.producer, err)
		}
		if m.Header.Get("KV-Operation") == "" {
			ids[strings.TrimPrefix(m.Subject, prefix)] = true
		}
	}
	return ids, nil
}

// queued returns the number of the incident's requests in the stream.
func (d *desk) queued(ctx context.Context) (int, error) {
	subject := d.subjects.Operator(d.producer, entrustbus.KindRevoke)
	st, err := d.js.Stream(ctx, d.layout.Requests)
	if err != nil {
		return 0, fmt.Errorf("reading stream %s: %w", d.layout.Requests, err)
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return 0, fmt.Errorf("reading stream %s: %w", d.layout.Requests, err)
	}
	return int(info.State.Subjects[subject]), nil
}

// begin notes the entries that have a ledger record, and reads their results.
func (d *desk) begin(ctx context.Context, entries []Entry) error {
	known, err := d.records(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if id := e.ID(); known[id] {
			d.waiting[id] = true
		}
	}
	return d.readResults(ctx)
}

// begun reports whether a request was published for a serial.
func (d *desk) begun(id string) bool { return d.waiting[id] || d.results[id] != nil }

func (d *desk) status(i *Incident, entries []Entry) Status {
	s := Status{Serials: len(entries)}
	if i.Report != nil {
		s.Revoked, s.Failed, s.Failures = i.Report.Revoked, i.Report.Failed, i.Report.Failures
	}
	for n, e := range entries {
		r := d.results[e.ID()]
		if n < i.Done {
			if r == nil || r.Replay == 0 {
				continue // the report counts it
			}
			// A replay changed the outcome since.
			if r.Outcome == entrustbus.OutcomeRevoked {
				s.Revoked++
				s.Failed--
			}
			continue
		}
		switch {
		case r != nil && r.Outcome == entrustbus.OutcomeRevoked:
			s.Revoked++
		case r != nil:
			s.Failed++
			if len(s.Failures) < maxFailures {
				f := Failure{Serial: e.Serial, Outcome: string(r.Outcome)}
				if r.Error != nil {
					f.Error = r.Error.Message
				}
				s.Failures = append(s.Failures, f)
			}
		case d.waiting[e.ID()]:
			s.Waiting++
		default:
			s.Open++
		}
	}
	return s
}

// StatusOf reads the progress of an incident. Requests that no worker has taken yet count
// as open.
func StatusOf(ctx context.Context, js jetstream.JetStream, layout streams.Layout, s *Store, i *Incident) (Status, error) {
	entries, err := s.Entries(ctx, i)
	if err != nil {
		return Status{}, err
	}
	d := newDesk(js, layout, i)
	if err := d.begin(ctx, entries); err != nil {
		return Status{}, err
	}
	return d.status(i, entries), nil
}
