// Package certs keeps whose a certificate is, in a key-value bucket: the producer and the
// order that it was issued for, the hash of its key, and what a renewal needs. An entry ends with its certificate.
//
// The worker writes the entry before the result, so that each result `issued` has one: a
// crash in between has the result effect repeated, and the entry is found. The first writer
// wins, so that an order which adopts another's certificate does not take it over.
package certs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Certificate is what is kept of one certificate.
type Certificate struct {
	// Producer is whose it is; Order is the id of the order that it was issued for.
	Producer string `json:"producer"`
	Order    string `json:"order"`
	// Key is the hash of its public key, as package keys makes it.
	Key string `json:"key"`
	// CAID and ProfileID are those that the order used; NotAfter is the end of its validity.
	// All three, and Names, are zero in an entry of an older worker.
	CAID      string    `json:"ca_id,omitempty"`
	ProfileID string    `json:"profile_id,omitempty"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	// Names are those that were asked for, as JoinNames writes them.
	Names string `json:"names,omitempty"`
}

// maxNames is the longest text of names that an entry has, in bytes: an entry is small.
const maxNames = 1 << 10

// JoinNames writes names as a request has them, in one line: dns:a.example ip:192.0.2.1. It
// is "" where they are too long to be kept, or one has no such form.
func JoinNames(names []san.Name) string {
	var b strings.Builder
	for i, n := range names {
		prefix, ok := prefixes[n.Type]
		if !ok || b.Len()+len(n.Value) > maxNames {
			return ""
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(prefix + n.Value)
	}
	return b.String()
}

// prefixes stand before names of a type in a request. It is read only.
var prefixes = map[san.Type]string{
	san.DNS: "dns:", san.IP: "ip:", san.Email: "email:", san.URI: "uri:",
}

// Store is the bucket. Make one with New. It is safe for concurrent use.
type Store struct {
	js     jetstream.JetStream
	bucket string
	leader *streams.Leader
}

// New returns the store in bucket. It does not touch the server.
func New(js jetstream.JetStream, bucket string) *Store {
	return &Store{js: js, bucket: bucket, leader: streams.LeaderOf(js, "KV_"+bucket)}
}

// Open makes Get cheaper where the bucket has one replica. It need not be called.
func (s *Store) Open(ctx context.Context) error {
	_, err := s.leader.Open(ctx)
	return err
}

// subject is that of the key <token of CA>.<serial>.
func (s *Store) subject(ca, serial string) string {
	return s.prefix() + Token(ca) + "." + strings.ToLower(serial)
}

func (s *Store) prefix() string { return "$KV." + s.bucket + "." }

// Token is what stands for a CA in the bucket: its id may have any characters.
func Token(ca string) string {
	sum := sha256.Sum256([]byte(ca))
	return hex.EncodeToString(sum[:16])
}

// Entry is one certificate as the bucket holds it.
type Entry struct {
	Certificate
	// CA is the Token of its CA; Serial is in lower-case hexadecimal.
	CA, Serial string
	// Ends is when the certificate ends: NotAfter, or the end of the entry to the second.
	Ends time.Time
}

// All yields what is known of every certificate that has not ended. What no worker wrote is
// left out. It stops after an error. Any replica may answer.
func (s *Store) All(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for m, err := range streams.Scan(ctx, s.js, "KV_"+s.bucket, s.prefix()+">") {
			if err != nil {
				yield(Entry{}, fmt.Errorf("reading whose certificates are: %w", err))
				return
			}
			var e Entry
			if m.Deleted() || json.Unmarshal(m.Data, &e.Certificate) != nil {
				continue
			}
			e.CA, e.Serial, _ = strings.Cut(strings.TrimPrefix(m.Subject, s.prefix()), ".")
			if e.Ends = e.NotAfter; e.Ends.IsZero() {
				ttl, _ := time.ParseDuration(m.Header.Get(jetstream.MsgTTLHeader))
				e.Ends = m.Time.Add(ttl)
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Put keeps what c says of a certificate for as long as it is valid. serial is in
// hexadecimal, without zeros in front. What is known of it already stays. A certificate that
// has ended is not kept. Put may be repeated until it succeeds.
func (s *Store) Put(ctx context.Context, ca, serial string, c Certificate, valid time.Duration) error {
	if valid <= 0 {
		return nil
	}
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding whose the certificate %s is: %w", serial, err)
	}
	ttl := (valid + time.Second - 1).Truncate(time.Second)
	_, err = s.leader.Create(ctx, &nats.Msg{Subject: s.subject(ca, serial), Data: data, Header: nats.Header{jetstream.MsgTTLHeader: {ttl.String()}}})
	if err != nil {
		return fmt.Errorf("writing whose the certificate %s is: %w", serial, err)
	}
	return nil
}

// Get returns what is known of a certificate; the zero Certificate where that is nothing.
func (s *Store) Get(ctx context.Context, ca, serial string) (Certificate, error) {
	var c Certificate
	m, err := s.leader.Last(ctx, s.subject(ca, serial))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return c, nil
	case err != nil:
		return c, fmt.Errorf("reading whose the certificate %s is: %w", serial, err)
	case m.Deleted():
		return c, nil
	}
	if err := json.Unmarshal(m.Data, &c); err != nil {
		return Certificate{}, nil // no worker wrote it: nothing is known
	}
	return c, nil
}

// Find returns what is known of the certificates with a serial number, of whatever CA. serial is
// as for Put. Any replica may answer. The server finds them by their subject.
func (s *Store) Find(ctx context.Context, serial string) ([]Certificate, error) {
	var all []Certificate
	for m, err := range streams.Scan(ctx, s.js, "KV_"+s.bucket, "$KV."+s.bucket+".*."+strings.ToLower(serial)) {
		if err != nil {
			return nil, fmt.Errorf("looking for the certificate %s: %w", serial, err)
		}
		var c Certificate
		if !m.Deleted() && json.Unmarshal(m.Data, &c) == nil { // what no worker wrote is left out
			all = append(all, c)
		}
	}
	return all, nil
}
