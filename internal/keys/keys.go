// Package keys keeps the public keys that no certificate is asked for again, in a key-value
// bucket: those whose certificate was revoked for keyCompromise, and those that an operator
// blocked. A key is known by its hash alone.
package keys

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Block is why a key is refused.
type Block struct {
	// Hash is that of the key.
	Hash string `json:"-"`
	// Reason is one line: keyCompromise, or an operator's words.
	Reason string `json:"reason"`
	// Producer and Order are those of the revocation, "" where an operator blocked the key.
	Producer string `json:"producer,omitempty"`
	Order    string `json:"order,omitempty"`
	// Since is when the server stored the block.
	Since time.Time `json:"-"`
}

// Hash returns the hash of a public key: the SHA-256 of its SubjectPublicKeyInfo in DER, in
// lower-case hexadecimal. Lists of compromised keys name them so, too.
func Hash(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

var hashRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ValidHash reports whether s is what Hash returns.
func ValidHash(s string) bool { return hashRule.MatchString(s) }

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

func (s *Store) subject(hash string) string { return "$KV." + s.bucket + "." + hash }

// Add blocks a key, and reports whether it was not blocked before: the block that stands
// keeps its reason. Add may be repeated until it succeeds.
func (s *Store) Add(ctx context.Context, b Block) (bool, error) {
	if !ValidHash(b.Hash) {
		return false, fmt.Errorf("blocking the key %.80q: not a SHA-256 in hexadecimal", b.Hash)
	}
	data, err := json.Marshal(b)
	if err != nil {
		return false, fmt.Errorf("encoding the block of the key %s: %w", b.Hash, err)
	}
	added, err := s.leader.Create(ctx, &nats.Msg{Subject: s.subject(b.Hash), Data: data})
	if err != nil {
		return false, fmt.Errorf("blocking the key %s: %w", b.Hash, err)
	}
	return added, nil
}

// Get returns the block of a key; false where there is none.
//
// The leader of the bucket answers. A worker asks for each order that it is about to submit:
// a set that it held in memory would be in step a moment later only, and silently not at all
// where its watch broke. The read costs less than a tenth of what the order costs.
func (s *Store) Get(ctx context.Context, hash string) (Block, bool, error) {
	m, err := s.leader.Last(ctx, s.subject(hash))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return Block{}, false, nil
	case err != nil:
		return Block{}, false, fmt.Errorf("asking whether the key %s is blocked: %w", hash, err)
	case m.Deleted():
		return Block{}, false, nil
	}
	return blockOf(hash, m), true, nil
}

// blockOf reads a block. One that no worker wrote blocks all the same.
func blockOf(hash string, m *streams.Message) Block {
	var b Block
	_ = json.Unmarshal(m.Data, &b) // what cannot be read says nothing more
	b.Hash, b.Since = hash, m.Time.UTC()
	return b
}

// Remove lifts the block of a key, and reports whether there was one.
func (s *Store) Remove(ctx context.Context, hash string) (bool, error) {
	_, blocked, err := s.Get(ctx, hash)
	if err != nil || !blocked {
		return false, err
	}
	msg := &nats.Msg{Subject: streams.PublishSubject(s.js, s.subject(hash)), Header: nats.Header{
		"KV-Operation": {"PURGE"}, jetstream.MsgRollup: {jetstream.MsgRollupSubject},
	}}
	if _, err := s.js.PublishMsg(ctx, msg); err != nil {
		return false, fmt.Errorf("unblocking the key %s: %w", hash, err)
	}
	return true, nil
}

// All yields every block, in the order in which they were made. It stops after an error.
func (s *Store) All(ctx context.Context) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		for m, err := range streams.Scan(ctx, s.js, "KV_"+s.bucket, ">") {
			if err != nil {
				yield(Block{}, fmt.Errorf("reading the bucket %s: %w", s.bucket, err))
				return
			}
			if !m.Deleted() && !yield(blockOf(strings.TrimPrefix(m.Subject, s.subject("")), m), nil) {
				return
			}
		}
	}
}
