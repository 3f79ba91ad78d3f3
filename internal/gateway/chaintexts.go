package gateway

import (
	"encoding/json"
	"slices"
	"sync"
)

const (
	// maxChainTexts bounds the number of remembered chains: many times the CAs behind one
	// gateway.
	maxChainTexts = 64
	// maxChainText is the longest remembered text of a chain, in bytes.
	maxChainText = 32 << 10
)

// chainTexts remembers the certificates of a chain by its text. A gateway sends the same
// chain with every certificate of an issuer, and parsing it costs more than parsing the
// certificate. A nil *chainTexts remembers nothing. Safe for concurrent use.
type chainTexts struct {
	mu   sync.Mutex
	seen map[string]bundle // by JSON; guarded by mu; the certificates never change
}

// read is readBundle with memory. The caller must not change the result.
func (c *chainTexts) read(raw json.RawMessage) bundle {
	if c == nil || len(raw) > maxChainText {
		return readBundle(raw)
	}
	c.mu.Lock()
	b, known := c.seen[string(raw)]
	c.mu.Unlock()
	if known {
		return b
	}
	b = readBundle(raw)
	b.certs = slices.Clip(b.certs)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil || len(c.seen) >= maxChainTexts {
		c.seen = map[string]bundle{}
	}
	c.seen[string(raw)] = b
	return b
}
