// Package incident is mass revocation: a named list of serials in a bucket, and the run
// that revokes each of them once, through the lane revoke.
//
// # Names
//
// The requests of an incident have a producer of their own, ProducerPrefix and the
// incident's name. Their id is the serial. They go to the operators' subject: NATS
// permissions decide who may send them, and the producers' policy does not apply.
//
// # Once
//
// The ledger holds one order for each serial. After a crash, a run begins again: it waits
// until the stream holds none of its requests. Then it publishes the requests that have
// neither a result nor a record. Two concurrent runs may publish a request twice: the id
// makes that one order.
package incident

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// ProducerPrefix precedes the name of an incident in the producer of its requests.
const ProducerPrefix = "incident-"

// Incident is one mass revocation. Reason, Comment, CAID and IssueCRL apply to every
// request.
type Incident struct {
	Version  int       `json:"v"`
	Name     string    `json:"name"`
	Reason   string    `json:"reason,omitempty"`
	Comment  string    `json:"comment,omitempty"`
	CAID     string    `json:"ca_id,omitempty"` // for serials without a CA of their own
	IssueCRL bool      `json:"issue_crl,omitempty"`
	Operator string    `json:"operator"`
	Why      string    `json:"why"` // for the audit trail
	Created  time.Time `json:"created"`
	// Serials is the number of serials. Parts are the keys that hold them.
	Serials int      `json:"serials"`
	Parts   []string `json:"parts,omitempty"`
	// Done is the number of serials, from the first, that had ended when the last
	// complete run ended. It outlasts results and ledger records. Report is that run's
	// report.
	Done   int     `json:"done,omitempty"`
	Report *Report `json:"report,omitempty"`
}

// Producer returns the producer of the incident's requests.
func (i *Incident) Producer() string { return ProducerPrefix + i.Name }

// Entry is one certificate.
type Entry struct {
	Serial string `json:"serial"` // lower-case hexadecimal
	CAID   string `json:"ca_id,omitempty"`
}

// ID returns the id of the certificate's request.
func (e Entry) ID() string {
	if e.CAID == "" {
		return e.Serial
	}
	sum := sha256.Sum256([]byte(e.CAID))
	return e.Serial + "-" + hex.EncodeToString(sum[:4])
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// CheckName returns an error for a name that cannot be part of a subject.
func CheckName(name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("the name of an incident must be 1 to 40 letters, digits, _ and -: %q", name)
	}
	return nil
}

// Errors of a Store.
var (
	ErrExists  = errors.New("there is an incident of this name")
	ErrUnknown = errors.New("there is no incident of this name")
	ErrChanged = errors.New("the incident was changed meanwhile; try again")
)

// partSize is the number of entries in one value of the bucket: they fit into a message
// of 64 KiB.
const partSize = 400

// Store is the bucket of incidents. It is safe for concurrent use.
type Store struct{ kv jetstream.KeyValue }

// Open opens the bucket. The error is jetstream.ErrBucketNotFound if there is none.
func Open(ctx context.Context, js jetstream.JetStream, bucket string) (*Store, error) {
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", bucket, err)
	}
	return &Store{kv}, nil
}

// Create writes a new incident without serials.
func (s *Store) Create(ctx context.Context, i *Incident) error {
	if err := CheckName(i.Name); err != nil {
		return err
	}
	// A defect of one request is a defect of all.
	if err := i.request(Entry{Serial: "1"}).Validate(); err != nil {
		return err
	}
	i.Version = 1
	body, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("encoding incident %s: %w", i.Name, err)
	}
	_, err = s.kv.Create(ctx, i.Name, body)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return ErrExists
	}
	return err
}

// Get returns an incident and its revision, which update needs.
func (s *Store) Get(ctx context.Context, name string) (*Incident, uint64, error) {
	if err := CheckName(name); err != nil {
		return nil, 0, err
	}
	v, err := s.kv.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, ErrUnknown
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading incident %s: %w", name, err)
	}
	i := new(Incident)
	if err := json.Unmarshal(v.Value(), i); err != nil {
		return nil, 0, fmt.Errorf("reading incident %s: %w", name, err)
	}
	if i.Version != 1 {
		return nil, 0, fmt.Errorf("reading incident %s: unsupported version %d (supported: 1)", name, i.Version)
	}
	return i, v.Revision(), nil
}

// update writes an incident if its revision is still the one that was read.
func (s *Store) update(ctx context.Context, i *Incident, revision uint64) error {
	body, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("encoding incident %s: %w", i.Name, err)
	}
	_, err = s.kv.Update(ctx, i.Name, body, revision)
	if streams.IsConflict(err) {
		return ErrChanged
	}
	return err
}

// Names lists the incidents.
func (s *Store) Names(ctx context.Context) ([]string, error) {
	keys, err := s.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing incidents: %w", err)
	}
	var names []string
	for key := range keys.Keys() {
		if nameRule.MatchString(key) { // keys of parts contain a dot
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Entries reads the serials of an incident.
func (s *Store) Entries(ctx context.Context, i *Incident) ([]Entry, error) {
	all := make([]Entry, 0, i.Serials)
	for _, key := range i.Parts {
		v, err := s.kv.Get(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("reading serials of incident %s under %s: %w", i.Name, key, err)
		}
		var part []Entry
		if err := json.Unmarshal(v.Value(), &part); err != nil {
			return nil, fmt.Errorf("reading serials of incident %s under %s: %w", i.Name, key, err)
		}
		all = append(all, part...)
	}
	return all, nil
}

// Missing returns the entries that the incident does not have, each once.
func (s *Store) Missing(ctx context.Context, i *Incident, entries []Entry) ([]Entry, error) {
	there, err := s.Entries(ctx, i)
	if err != nil {
		return nil, err
	}
	seen := map[Entry]bool{}
	for _, e := range there {
		seen[e] = true
	}
	var more []Entry
	for _, e := range entries {
		if !seen[e] {
			seen[e] = true
			more = append(more, e)
		}
	}
	return more, nil
}

// Load adds serials to an incident and skips those that it has. It returns how many it
// added. A load that crashed added nothing and may be repeated. ErrChanged says that
// another load, or the end of a run, changed the incident meanwhile.
func (s *Store) Load(ctx context.Context, name string, entries []Entry) (int, error) {
	i, revision, err := s.Get(ctx, name)
	if err != nil {
		return 0, err
	}
	more, err := s.Missing(ctx, i, entries)
	if err != nil || len(more) == 0 {
		return 0, err
	}
	for _, e := range more {
		if err := i.request(e).Validate(); err != nil {
			return 0, fmt.Errorf("serial %q: %w", e.Serial, err)
		}
	}
	for part := range slices.Chunk(more, partSize) {
		body, err := json.Marshal(part)
		if err != nil {
			return 0, fmt.Errorf("encoding serials of incident %s: %w", name, err)
		}
		// With a key of its own, this part does not overwrite a concurrent load's.
		key := name + "." + nuid.Next()
		if _, err := s.kv.Put(ctx, key, body); err != nil {
			return 0, fmt.Errorf("writing serials of incident %s: %w", name, err)
		}
		i.Parts = append(i.Parts, key)
	}
	i.Serials += len(more)
	return len(more), s.update(ctx, i, revision)
}

// request returns the request for one serial.
func (i *Incident) request(e Entry) *entrustbus.Revoke {
	r := &entrustbus.Revoke{ID: e.ID(), Serial: e.Serial, Reason: i.Reason, Comment: i.Comment, CAID: e.CAID, IssueCRL: i.IssueCRL}
	if r.CAID == "" {
		r.CAID = i.CAID
	}
	return r
}
