// Package certs is a key-value bucket with an entry for each issued certificate: its
// producer and order, the hash of its key, and the data that a renewal needs. An entry
// ends with its certificate.
//
// The worker writes the entry before the result, so that each result `issued` has an
// entry. After a crash between the two, the next worker repeats the result effect and
// finds the entry. The first writer wins, so an order that adopts another order's
// certificate does not take it over.
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

// Certificate is the entry of one certificate.
type Certificate struct {
	// Producer and Order name the order that the certificate was issued for.
	Producer string `json:"producer"`
	Order    string `json:"order"`
	// Key is the hash of its public key. See keys.Hash.
	Key string `json:"key"`
	// CAID and ProfileID are those of the order, NotAfter the end of validity. In an
	// entry of an older worker all three, and Names, are zero.
	CAID      string    `json:"ca_id,omitempty"`
	ProfileID string    `json:"profile_id,omitempty"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	// Names are the requested names in the form of JoinNames.
	Names string `json:"names,omitempty"`
}

// maxNames bounds the names of an entry, in bytes, so that entries stay small.
const maxNames = 1 << 10

// JoinNames writes names on one line in the form of requests: dns:a.example ip:192.0.2.1.
// It returns "" if they exceed maxNames or if a name has no such form.
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

// prefixes are the prefixes of names in requests. It is read only.
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

// Open makes Get cheaper if the bucket has one replica. Calling it is optional.
func (s *Store) Open(ctx context.Context) error {
	_, err := s.leader.Open(ctx)
	return err
}

// subject returns the subject of the key <token of CA>.<serial>.
func (s *Store) subject(ca, serial string) string {
	return s.prefix() + Token(ca) + "." + strings.ToLower(serial)
}

func (s *Store) prefix() string { return "$KV." + s.bucket + "." }

// Token returns the key token of a CA, a hash, because a CA's id may contain any
// character.
func Token(ca string) string {
	sum := sha256.Sum256([]byte(ca))
	return hex.EncodeToString(sum[:16])
}

// Entry is one certificate as the bucket holds it.
type Entry struct {
	Certificate
	// CA is the Token of its CA; Serial is in lower-case hexadecimal.
	CA, Serial string
	// Ends is the end of the certificate: NotAfter, or the end of the entry to the
	// second.
	Ends time.Time
}

// All yields the entries of all certificates that have not ended. It skips values that no
// worker wrote. It stops after an error. Any replica may answer.
func (s *Store) All(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for m, err := range streams.Scan(ctx, s.js, "KV_"+s.bucket, s.prefix()+">") {
			if err != nil {
				yield(Entry{}, fmt.Errorf("reading the owners of certificates: %w", err))
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

// Put writes c for as long as the certificate is valid. serial is in hexadecimal without
// leading zeros. An existing entry stays as it is. Put writes nothing for a certificate
// that has ended. It may be repeated until it succeeds.
func (s *Store) Put(ctx context.Context, ca, serial string, c Certificate, valid time.Duration) error {
	if valid <= 0 {
		return nil
	}
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding the owner of certificate %s: %w", serial, err)
	}
	ttl := (valid + time.Second - 1).Truncate(time.Second)
	_, err = s.leader.Create(ctx, &nats.Msg{Subject: s.subject(ca, serial), Data: data, Header: nats.Header{jetstream.MsgTTLHeader: {ttl.String()}}})
	if err != nil {
		return fmt.Errorf("writing the owner of certificate %s: %w", serial, err)
	}
	return nil
}

// Get returns the entry of a certificate; the zero Certificate if there is none.
func (s *Store) Get(ctx context.Context, ca, serial string) (Certificate, error) {
	var c Certificate
	m, err := s.leader.Last(ctx, s.subject(ca, serial))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return c, nil
	case err != nil:
		return c, fmt.Errorf("reading the owner of certificate %s: %w", serial, err)
	case m.Deleted():
		return c, nil
	}
	if err := json.Unmarshal(m.Data, &c); err != nil {
		return Certificate{}, nil // no worker wrote this value
	}
	return c, nil
}

// Find returns the entries of all certificates with a serial number, of any CA. serial is
// as for Put. Any replica may answer. The server finds the entries by their subject.
func (s *Store) Find(ctx context.Context, serial string) ([]Certificate, error) {
	var all []Certificate
	for m, err := range streams.Scan(ctx, s.js, "KV_"+s.bucket, "$KV."+s.bucket+".*."+strings.ToLower(serial)) {
		if err != nil {
			return nil, fmt.Errorf("looking for certificate %s: %w", serial, err)
		}
		var c Certificate
		if !m.Deleted() && json.Unmarshal(m.Data, &c) == nil { // skip values that no worker wrote
			all = append(all, c)
		}
	}
	return all, nil
}
