// Package keys is a key-value bucket of blocked public keys. The worker asks for no
// certificate for them. Revocations for keyCompromise block keys, and so do operators.
// The bucket knows a key by its hash alone.
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

// Block says why a key is blocked.
type Block struct {
	// Hash is the key's hash. See Hash.
	Hash string `json:"-"`
	// Reason is one line: keyCompromise, or an operator's text.
	Reason string `json:"reason"`
	// Producer and Order name the revocation; "" if an operator blocked the key.
	Producer string `json:"producer,omitempty"`
	Order    string `json:"order,omitempty"`
	// Since is when the server stored the block.
	Since time.Time `json:"-"`
}

// Hash returns the hash of a public key: the SHA-256 of its SubjectPublicKeyInfo in DER,
// in lower-case hexadecimal. Lists of compromised keys use the same form.
func Hash(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

var hashRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ValidHash reports whether s has the form that Hash returns.
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

// Open makes Get cheaper if the bucket has one replica. Calling it is optional.
func (s *Store) Open(ctx context.Context) error {
	_, err := s.leader.Open(ctx)
	return err
}

func (s *Store) subject(hash string) string { return "$KV." + s.bucket + "." + hash }

// Add blocks a key, and reports whether it was not blocked before. An existing block
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

// Get returns the block of a key; false if there is none.
//
// The leader of the bucket answers. A worker asks before each submission. A set in memory
// would lag behind the bucket, and would stop following it without notice if its watch
// broke. The read costs less than a tenth of the order's cost.
func (s *Store) Get(ctx context.Context, hash string) (Block, bool, error) {
	m, err := s.leader.Last(ctx, s.subject(hash))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return Block{}, false, nil
	case err != nil:
		return Block{}, false, fmt.Errorf("reading the block of key %s: %w", hash, err)
	case m.Deleted():
		return Block{}, false, nil
	}
	return blockOf(hash, m), true, nil
}

// blockOf reads a block. A value that no worker wrote blocks the key all the same.
func blockOf(hash string, m *streams.Message) Block {
	var b Block
	_ = json.Unmarshal(m.Data, &b) // an unreadable value only leaves the fields empty
	b.Hash, b.Since = hash, m.Time.UTC()
	return b
}

// Remove removes the block of a key, and reports whether there was one.
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

// All yields every block in the order of their creation. It stops after an error.
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
