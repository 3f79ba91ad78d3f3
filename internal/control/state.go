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

// State is the fleet's state in the control bucket, for operators. No decision uses it,
// because any replica of the bucket may have answered. Times are by the clock that
// ReadState was given. The zero value describes an unknown fleet. It is a plain value.
type State struct {
	// Workers are the workers whose presence was written in the last minute, by name.
	Workers []Presence `json:"workers"`
	// Breakers are the open ones, by operation and CA.
	Breakers []Breaker `json:"open_breakers"`
	// Pauses are the running pauses that gateways asked for.
	Pauses []PauseLeft `json:"pauses"`
	// Suspensions are the stops that operators ordered, oldest first. Their Age is not set.
	Suspensions []Suspension `json:"suspensions"`
	// Watchdog is the last scan for orders that nothing will wake.
	Watchdog Watchdog `json:"watchdog"`
	// Rollback is the last loss of writes that a worker noticed. Count 0: none.
	Rollback Rollback `json:"rollback,omitzero"`
	// RolledBack is when the worker noticed it; zero for none.
	RolledBack time.Time `json:"rolled_back,omitzero"`
}

// Presence is one worker of a fleet.
type Presence struct {
	Worker string `json:"worker"`
	// Seen is when the worker last wrote its presence.
	Seen time.Time `json:"seen"`
	// Silent says that the worker has missed several beats: the worker or its host is
	// gone.
	Silent bool `json:"silent"`
	// Started is when the worker started; zero if an older worker does not report it.
	Started time.Time `json:"started,omitzero"`
	// About is the worker's report; zero for an older worker.
	About
}

// About is the report that a worker adds to each beat. It holds no secret. The zero value
// reports nothing.
type About struct {
	Version string `json:"version,omitempty"`
	// GatewayProblem says why the worker does not call the gateway now.
	GatewayProblem string `json:"gateway_problem,omitempty"`
	// CertificateEnd is the end of validity of the client certificate.
	CertificateEnd time.Time `json:"certificate_end,omitzero"`
	// CertificateProblem says why the key pair cannot be used.
	CertificateProblem string `json:"certificate_problem,omitempty"`
	// Skew is how far the NATS server's clock is ahead of the worker's host; negative if
	// it is behind. SkewKnown is false until the worker has measured it.
	Skew      time.Duration `json:"skew_ns,omitempty"`
	SkewKnown bool          `json:"skew_known,omitempty"`
}

// Breaker is an open breaker of an operation of a CA.
type Breaker struct {
	Operation string `json:"operation"`
	CA        string `json:"ca"`
	// Since is when the breaker opened; zero if an older worker opened it.
	Since time.Time `json:"since,omitzero"`
	// Next is when the next canary may follow. If it is in the past, the next call is a
	// canary.
	Next time.Time `json:"next_canary"`
	// Canaries is the number of canaries since the first opening of the outage.
	Canaries int `json:"canaries"`
	// Cause is the last bad answer of the opening; empty if an older worker opened it.
	Cause string `json:"cause,omitempty"`
	// Worker wrote the record. Producer made the call that was the last canary.
	Worker   string `json:"worker"`
	Producer string `json:"producer,omitempty"`
}

// PauseLeft is a running pause that a gateway asked for.
type PauseLeft struct {
	Until  time.Time `json:"until"`
	Worker string    `json:"worker"`
}

// Watchdog is the progress of the scans for lost wake-ups. A zero time means never.
type Watchdog struct {
	// Scanned is when the last scan of the waiting orders and the recent writes ended.
	Scanned time.Time `json:"scanned,omitzero"`
	// Every is the interval between two scans; 0 if an older worker scanned.
	Every time.Duration `json:"every_ns,omitempty"`
	// ScannedAll is when the last scan of every record ended.
	ScannedAll time.Time `json:"scanned_all,omitzero"`
	// Waiting holds the counts of the last scan of the parked stream, at the time
	// Counted; zero if an older worker scanned.
	Waiting Waiting   `json:"waiting"`
	Counted time.Time `json:"counted,omitzero"`
	// OldestSince is when the oldest waiting order began to wait; zero if none waited.
	OldestSince time.Time `json:"oldest_since,omitzero"`
	// NextDue is when the first waiting order was due; zero if none waited.
	NextDue time.Time `json:"next_due,omitzero"`
}

// Waiting counts orders that wait for a wake-up, by the phase of their record. Orders
// whose wake-up an older worker wrote without a phase count as Other.
type Waiting struct {
	// Awaiting counts orders that the gateway has, under a tracking id.
	Awaiting int `json:"awaiting"`
	// Unaccepted counts deferred orders: the gateway accepted no submission of theirs.
	Unaccepted int `json:"deferred"`
	// Indeterminate counts orders in doubt: the gateway may have accepted a submission of
	// theirs.
	Indeterminate int `json:"in_doubt"`
	Other         int `json:"other"`
}

// ReadState reads the fleet's state from the bucket. skew is how far the server's clock
// is ahead of this host's: ReadState subtracts it from server times. It skips values that
// no worker wrote.
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

// take adds one key to the state. stored is its store time by this host's clock.
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

// scanned adds the record of a scan.
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
