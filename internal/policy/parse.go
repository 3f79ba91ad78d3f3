package policy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// MaxBytes bounds a policy file.
const MaxBytes = 1 << 20

// Policy says which producer may ask for what. Make one with Parse. It never changes, and
// is safe for concurrent use.
type Policy struct {
	digest    [sha256.Size]byte
	producers map[string]*rules
	source    map[string]Rules
}

// Digest returns the SHA-256 of the bytes that the policy was parsed from.
func (p *Policy) Digest() [sha256.Size]byte { return p.digest }

// Producers returns the producers that the policy has rules for, sorted.
func (p *Policy) Producers() []string { return slices.Sorted(maps.Keys(p.producers)) }

// Rules returns the rules of a producer as they were written; false if there are none,
// and the producer may ask for nothing. The caller must not change them.
func (p *Policy) Rules(producer string) (Rules, bool) {
	r, ok := p.source[producer]
	return r, ok
}

// RequestsPerMinute returns how many issue requests of a producer may begin in a minute,
// 0 for no limit.
func (p *Policy) RequestsPerMinute(producer string) int {
	return p.source[producer].RequestsPerMinute
}

// Parse reads a policy from YAML. An unknown key, a duplicate key, and a rule that could
// never allow anything are errors that name the producer and the rule.
func Parse(data []byte) (*Policy, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("reading a policy: larger than %d bytes", MaxBytes)
	}
	var file struct {
		Producers map[string]Rules `yaml:"producers"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	switch err := dec.Decode(&file); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("reading a policy: it is empty")
	case err != nil:
		return nil, fmt.Errorf("reading a policy: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading a policy: it has more than one YAML document")
	}
	if file.Producers == nil {
		return nil, errors.New(`reading a policy: the key "producers" is missing`)
	}
	p := &Policy{digest: sha256.Sum256(data), producers: map[string]*rules{}, source: file.Producers}
	for _, producer := range slices.Sorted(maps.Keys(file.Producers)) {
		if !entrustbus.ValidToken(producer) {
			return nil, fmt.Errorf("reading a policy: %.80q cannot be the name of a producer", producer)
		}
		r, err := compile(file.Producers[producer])
		if err != nil {
			return nil, fmt.Errorf("reading the policy of producer %q: %w", producer, err)
		}
		p.producers[producer] = r
	}
	return p, nil
}
