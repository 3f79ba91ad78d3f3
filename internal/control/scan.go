package control

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const scanPrefix = "scan."

// The scans that the watchdog makes.
const (
	// ScanRecent reads what was written since its cursors.
	ScanRecent = "recent"
	// ScanFull reads everything, at most once a day.
	ScanFull = "full"
)

// Scan is how far the watchdog has read, and what it found when it last finished.
// The zero value is a scan that never finished. It is a plain value.
type Scan struct {
	// Source identifies the stream that the cursors count in, such as the time it was
	// made. It is compared and never taken for an instant: cursors of another source
	// mean nothing.
	Source string `json:"source"`
	// Cursor is the stream sequence up to which everything was read at once; Lagging
	// is the one up to which it was read again after the longest lease or wait.
	Cursor  uint64 `json:"cursor"`
	Lagging uint64 `json:"lagging"`
	// Parked is the last sequence of the parked stream when the scan began: one that is
	// lower later has lost its end.
	Parked uint64 `json:"parked,omitempty"`
	// Complete is false where the record only keeps the cursors of a scan under way.
	Complete bool `json:"complete"`
	// Before is how long before this record the last scan had ended, where this one is
	// not complete; 0 where none had.
	Before time.Duration `json:"before_ns,omitempty"`
	// Oldest is how long the oldest waiting order had waited at the end of the scan.
	Oldest time.Duration `json:"oldest_ns"`
	// Waiting is what the scan counted, nil where an older worker scanned; NextDue is in how
	// long the first of the waiting orders was due then, nil where none waited.
	Waiting *Waiting       `json:"waiting,omitempty"`
	NextDue *time.Duration `json:"next_due_ns,omitempty"`
	// Every is the pause between two scans; 0 where an older worker scanned.
	Every time.Duration `json:"every_ns,omitempty"`
	// Took is how long the scan took.
	Took time.Duration `json:"took_ns"`

	// Age is how long ago the record was written, by server time. It is not stored.
	Age time.Duration `json:"-"`
	// Revision is what SaveScan compares. It is not stored. 0: no record yet.
	Revision uint64 `json:"-"`
}

// Ended returns how long ago the last scan of the name ended; false where none did.
func (s Scan) Ended() (ago time.Duration, ok bool) {
	if s.Complete {
		return s.Age, true
	}
	return s.Before + s.Age, s.Before > 0
}

// ReadScan returns the record of the scan of that name from the leader; the zero Scan
// where there is none. A record that no worker wrote counts as none.
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

// SaveScan writes the record over the revision that it was read as, and sets its
// revision. It returns ErrConflict where another worker wrote it since.
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

// LastScan returns the last record of that name that Run saw, whichever worker wrote
// it. It asks no server. It returns false where Run has seen none.
func (b *Bucket) LastScan(name string) (Scan, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.scans[name]
	if ok {
		s.Age += time.Since(b.scanned[name])
	}
	return s, ok
}

// sawScan keeps what the watch shows of a scan.
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
