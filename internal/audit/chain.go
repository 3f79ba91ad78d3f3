package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Chain numbers records and links each to the record before it. Make one with NewChain.
// It does no I/O, and is not safe for concurrent use.
type Chain struct {
	name     string
	number   uint64
	previous string
	late     []uint64
}

// NewChain returns an empty chain. Each start of a worker has a chain of its own.
func NewChain(name string) *Chain { return &Chain{name: name} }

// Append makes r the next record of the chain, and returns its body.
func (c *Chain) Append(r *Record) ([]byte, error) {
	r.Version, r.Chain, r.Number, r.Previous, r.Late = Version, c.name, c.number+1, c.previous, c.late
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding an audit record: %w", err)
	}
	c.number, c.previous, c.late = r.Number, Hash(body), nil
	return body, nil
}

// StoredLate adds a number that was stored out of order to the Late field of the next
// record.
func (c *Chain) StoredLate(number uint64) { c.late = append(c.late, number) }

// Hash returns the SHA-256 of a body in hexadecimal, as records name it.
func Hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
