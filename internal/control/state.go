package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// State is what the control bucket says of a fleet, for people to look at. No decision
// rests on it: any replica of the bucket may have answered. Instants are by the clock that
// ReadState was given. The zero value is a fleet of which nothing is known. It is a plain
// value.
type State struct {
	// Workers are those that said in the last minute that they live, by name.
	Workers []Presence `json:"workers"`
	// Breakers are the open ones, by operation and CA.
	Breakers []Breaker `json:"open_breakers"`
	// Pauses are the waits that gateways asked for, and that are not over.
	Pauses []PauseLeft `json:"pauses"`
	// Suspensions are the stops that operators ordered, oldest first. Their Age is not set.
	Suspensions []Suspension `json:"suspensions"`
	// Watchdog is the last scan for orders that nothing will wake.
	Watchdog Watchdog `json:"watchdog"`
	// Rollback is the last loss of writes that a worker noticed. Count 0: none.
	Rollback Rollback `json:"rollback,omitzero"`
	// RolledBack is when it was noticed; zero for none.
	RolledBack time.Time `json:"rolled_back,omitzero"`
}

// Presence is one worker of a fleet.
type Presence struct {
	Worker string `json:"worker"`
	// Seen is when the worker last said that it lives.
	Seen time.Time `json:"seen"`
	// Silent says that the worker has missed several beats: it, or its host, is gone.
	Silent bool `json:"silent"`
	// Started is when the worker began; zero where an older worker does not say.
	Started time.Time `json:"started,omitzero"`
	// About is what the worker says of itself; the zero value of an older worker.
	About
}

// About is what a worker says of itself to the fleet with each beat. It holds no secret.
// The zero value says nothing.
type About struct {
	Version string `json:"version,omitempty"`
	// GatewayProblem says why the worker does not call the gateway now.
	GatewayProblem string `json:"gateway_problem,omitempty"`
	// CertificateEnd is the end of validity of the client certificate.
	CertificateEnd time.Time `json:"certificate_end,omitzero"`
	// CertificateProblem says why the key pair cannot be used.
	CertificateProblem string `json:"certificate_problem,omitempty"`
	// Skew is how far the NATS server's clock is ahead of the worker's host, below 0 where it
	// is behind. SkewKnown is false before it is measured.
	Skew      time.Duration `json:"skew_ns,omitempty"`
	SkewKnown bool          `json:"skew_known,omitempty"`
}

// Breaker is an open breaker of an operation of a CA.
type Breaker struct {
	Operation string `json:"operation"`
	CA        string `json:"ca"`
	// Since is when the breaker opened; zero where an older worker opened it.
	Since time.Time `json:"since,omitzero"`
	// Next is when the next canary may follow. A moment in the past says that the next call
	// will be one.
	Next time.Time `json:"next_canary"`
	// Canaries were sent since it opened first.
	Canaries int `json:"canaries"`
	// Cause is the last bad answer of the opening; empty where an older worker opened it.
	Cause string `json:"cause,omitempty"`
	// Worker wrote this, Producer is whose call the last canary was.
	Worker   string `json:"worker"`
	Producer string `json:"producer,omitempty"`
}

// PauseLeft is a wait that a gateway asked for.
type PauseLeft struct {
	Until  time.Time `json:"until"`
	Worker string    `json:"worker"`
}

// Watchdog is how far the scans for lost wake-ups are. Zero instants: never.
type Watchdog struct {
	// Scanned is when the last scan of what waits, and of what was written since, ended.
	Scanned time.Time `json:"scanned,omitzero"`
	// Every is the pause between two scans; 0 where an older worker scanned.
	Every time.Duration `json:"every_ns,omitempty"`
	// ScannedAll is when the last scan of every record ended.
	ScannedAll time.Time `json:"scanned_all,omitzero"`
	// Waiting is what the last scan of the parked stream counted, at Counted; zero where an
	// older worker scanned.
	Waiting Waiting   `json:"waiting"`
	Counted time.Time `json:"counted,omitzero"`
	// OldestSince is since when the oldest waiting order had waited; zero where none did.
	OldestSince time.Time `json:"oldest_since,omitzero"`
	// NextDue is when the first of the waiting orders was due; zero where none waited.
	NextDue time.Time `json:"next_due,omitzero"`
}

// Waiting is how many orders wait for a wake-up, by the phase of their record. Orders with a
// wake-up of an older worker, which does not say the phase, count as Other.
type Waiting struct {
	// Awaiting are orders that the gateway has, under a tracking id.
	Awaiting int `json:"awaiting"`
	// Unaccepted are deferred orders: no submission of theirs was accepted.
	Unaccepted int `json:"deferred"`
	// Indeterminate are orders in doubt: a submission of theirs may have been accepted.
	Indeterminate int `json:"in_doubt"`
	Other         int `json:"other"`
}

// ReadState reads what the bucket holds of the fleet, and changes nothing. skew is how far
// the server's clock is ahead of this host's: it makes instants of this host's clock of the
// server's. What no worker wrote is left out.
func ReadState(ctx context.Context, js jetstream.JetStream, bucket string, skew time.Duration) (State, error) {
	s := State{Workers: []Presence{}, Breakers: []Breaker{}, Pauses: []PauseLeft{}, Suspensions: []Suspension{}}
	now, prefix := time.Now(), "$KV."+bucket+"."
	for m, err := range streams.Scan(ctx, js, "KV_"+bucket, prefix+">") {
		if err != nil {
			return State{}, fmt.Errorf("reading the control bucket %s: %w", bucket, err)
		}
		if m.Deleted() {
			continue
		}
		s.take(strings.TrimPrefix(m.Subject, prefix), m.Data, m.Time.Add(-skew).UTC(), now)
	}
	slices.SortFunc(s.Workers, func(a, b Presence) int { return cmp.Compare(a.Worker, b.Worker) })
	slices.SortFunc(s.Breakers, func(a, b Breaker) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.CA, b.CA))
	})
	s.Suspensions = sorted(s.Suspensions)
	return s, nil
}

// take takes in one key, with when it was stored by this host's clock.
func (s *State) take(key string, data []byte, stored, now time.Time) {
	age := max(0, now.Sub(stored))
	switch prefix, rest, _ := strings.Cut(key, "."); prefix + "." {
	case workerPrefix:
		if p, ok := presenceOf(rest, data, stored); ok {
			p.Silent = age >= liveFor
			s.Workers = append(s.Workers, p)
		}
	case pausePrefix:
		if left := pauseLeft(data, age); left > 0 {
			var r pauseRecord
			_ = json.Unmarshal(data, &r) // pauseLeft decoded it
			s.Pauses = append(s.Pauses, PauseLeft{Until: now.Add(left).UTC(), Worker: r.Worker})
		}
	case breakerPrefix:
		r, ok := breakerOf(key, data)
		if !ok || r.State != open {
			return
		}
		operation, _, _ := strings.Cut(rest, ".")
		b := Breaker{
			Operation: operation, CA: r.CA, Next: stored.Add(time.Duration(r.Interval)),
			Canaries: r.Number, Cause: r.Cause, Worker: r.Worker, Producer: r.Producer,
		}
		if r.Lasted != nil {
			b.Since = stored.Add(-time.Duration(*r.Lasted))
		}
		s.Breakers = append(s.Breakers, b)
	case suspensionPrefix:
		if u, ok := suspensionOf(key, data, stored, 0); ok {
			s.Suspensions = append(s.Suspensions, u)
		}
	case scanPrefix:
		s.scanned(rest, data, stored, age)
	case rollbackKey + ".":
		s.Rollback = rollbackOf(entry{data: data, stored: stored})
		s.RolledBack = s.Rollback.At
	}
}

// scanned takes in the record of a scan.
func (s *State) scanned(name string, data []byte, stored time.Time, age time.Duration) {
	scan, ok := scanOf(data)
	if !ok {
		return
	}
	scan.Age = age
	ended := time.Time{}
	if ago, ok := scan.Ended(); ok {
		ended = stored.Add(age - ago)
	}
	switch name {
	case ScanFull:
		s.Watchdog.ScannedAll = ended
	case ScanRecent:
		s.Watchdog.Scanned, s.Watchdog.Every = ended, scan.Every
		if scan.Waiting != nil {
			s.Watchdog.Waiting, s.Watchdog.Counted = *scan.Waiting, stored
		}
		if scan.Oldest > 0 {
			s.Watchdog.OldestSince = stored.Add(-scan.Oldest)
		}
		if scan.NextDue != nil {
			s.Watchdog.NextDue = stored.Add(*scan.NextDue)
		}
	}
}
