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

// Failure is a serial that ended without being revoked.
type Failure struct {
	Serial  string `json:"serial"`
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
}

// Status is how far an incident has come.
type Status struct {
	Serials int `json:"serials"`
	Revoked int `json:"revoked"`
	// Failed ended otherwise; Failures are the first of them.
	Failed   int       `json:"failed"`
	Failures []Failure `json:"failures,omitempty"`
	// Waiting are those that a worker has, Open those that no worker has been given yet.
	Waiting int `json:"waiting"`
	Open    int `json:"open"`
}

// Report is the status at the end of a run.
type Report struct {
	Status
	Ended time.Time `json:"ended"`
}

// maxFailures is how many failures a status names.
const maxFailures = 100

// desk reads what the bus holds of an incident.
type desk struct {
	js       jetstream.JetStream
	layout   streams.Layout
	subjects entrustbus.Subjects
	producer string

	results map[string]*entrustbus.Result // the newest, by id
	waiting map[string]bool               // ids that a worker has, without a result
	next    uint64                        // sequence to read results from
}

func newDesk(js jetstream.JetStream, layout streams.Layout, i *Incident) *desk {
	return &desk{js: js, layout: layout, subjects: layout.Subjects(), producer: i.Producer(), results: map[string]*entrustbus.Result{}, waiting: map[string]bool{}, next: 1}
}

// readResults takes in the results that came since.
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

// records returns the ids that the ledger knows.
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

// queued is how many requests of the incident no worker is done with.
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

// begin notes which of the entries a worker has, by the ledger.
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

// status counts.
func (d *desk) status(i *Incident, entries []Entry) Status {
	s := Status{Serials: len(entries)}
	if i.Report != nil {
		s.Revoked, s.Failed, s.Failures = i.Report.Revoked, i.Report.Failed, i.Report.Failures
	}
	for n, e := range entries {
		r := d.results[e.ID()]
		if n < i.Done {
			if r == nil || r.Replay == 0 {
				continue // as the report says
			}
			// A replay since.
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

// StatusOf reads how far an incident has come. Requests that no worker has looked at yet
// count as open.
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
