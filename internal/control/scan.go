package control

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const scanPrefix = "scan."

// Names of the watchdog's scans.
const (
	// ScanRecent reads records written since its cursors.
	ScanRecent = "recent"
	// ScanFull reads all records, at most once a day.
	ScanFull = "full"
)

// Scan is the watchdog's progress, and its findings when it last finished. The zero value
// is a scan that never finished. It is a plain value.
type Scan struct {
	// Source identifies the stream of the cursors, for example by its creation time. It
	// is only compared, never used as a time. Cursors of another source are void.
	Source string `json:"source"`
	// Cursor is the stream sequence up to which the watchdog has read everything once.
	// Lagging is the sequence up to which it has read everything again, after the
	// longest lease or wait.
	Cursor  uint64 `json:"cursor"`
	Lagging uint64 `json:"lagging"`
	// Parked is the last sequence of the parked stream when the scan began. If the
	// stream's last sequence is lower later, the stream lost its end.
	Parked uint64 `json:"parked,omitempty"`
	// Complete is false if the record only keeps the cursors of a running scan.
	Complete bool `json:"complete"`
	// Before is the time between the end of the last scan and this record if this scan is
	// not complete; 0 if no scan has ended.
	Before time.Duration `json:"before_ns,omitempty"`
	// Oldest is how long the oldest waiting order had waited at the end of the scan.
	Oldest time.Duration `json:"oldest_ns"`
	// Waiting holds the scan's counts; nil if an older worker scanned. NextDue is the
	// time from the scan to the first wake-up; nil if no order waited.
	Waiting *Waiting       `json:"waiting,omitempty"`
	NextDue *time.Duration `json:"next_due_ns,omitempty"`
	// Every is the interval between two scans; 0 if an older worker scanned.
	Every time.Duration `json:"every_ns,omitempty"`
	// Took is how long the scan took.
	Took time.Duration `json:"took_ns"`

	// Age is how long ago the record was written, by server time. It is not stored.
	Age time.Duration `json:"-"`
	// Revision is the revision that SaveScan compares. It is not stored. 0: no record
	// yet.
	Revision uint64 `json:"-"`
}

// Ended returns how long ago the last scan of this kind ended; false if none did.
func (s Scan) Ended() (ago time.Duration, ok bool) {
	if s.Complete {
		return s.Age, true
	}
	return s.Before + s.Age, s.Before > 0
}

// ReadScan returns the record of a scan from the leader; the zero Scan if there is none,
// or if no worker wrote the value. name is ScanRecent or ScanFull.
func (b *Bucket) ReadScan(ctx context.Context, name string) (Scan, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	last, err := b.read(ctx, scanPrefix+name)
	if err != nil {
		return Scan{}, fmt.Errorf("reading the watchdog's %s scan: %w", name, err)
	}
	s, _ := scanOf(last.data)
	s.Age, s.Revision = last.age, last.revision
	return s, nil
}

// SaveScan writes the record if its key still has the revision s.Revision, and sets the
// new revision. It returns ErrConflict if another worker wrote it since.
func (b *Bucket) SaveScan(ctx context.Context, name string, s *Scan) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding the watchdog's %s scan: %w", name, err)
	}
	revision, err := b.write(ctx, scanPrefix+name, s.Revision, data, 0)
	if err != nil {
		return fmt.Errorf("writing the watchdog's %s scan: %w", name, err)
	}
	s.Revision, s.Age = revision, 0
	return nil
}

// LastScan returns the last record of a scan that Run saw, of any worker. It asks no
// server. It returns false if Run has seen none.
func (b *Bucket) LastScan(name string) (Scan, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.scans[name]
	if ok {
		s.Age += time.Since(b.scanned[name])
	}
	return s, ok
}

// sawScan stores the scan record that the watch delivered.
func (b *Bucket) sawScan(name string, e entry) {
	s, ok := scanOf(e.data)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !ok || name != ScanRecent && name != ScanFull {
		delete(b.scans, name)
		return
	}
	s.Age, s.Revision = e.age, e.revision
	b.scans[name], b.scanned[name] = s, time.Now()
}

func scanOf(data []byte) (Scan, bool) {
	var s Scan
	if data == nil || json.Unmarshal(data, &s) != nil {
		return Scan{}, false
	}
	return s, true
}
