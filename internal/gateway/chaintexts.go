package gateway

import (
	"crypto/x509"
	"sync"
)

const (
	// maxChainTexts bounds the chains that are remembered: many times the CAs behind one
	// gateway.
	maxChainTexts = 64
	// maxChainText is the longest text of a chain that is remembered, in bytes.
	maxChainText = 32 << 10
)

// chainTexts remembers the certificates in the texts of chains: a gateway sends the same
// chain with every certificate of an issuer, and parsing it costs more than parsing the
// certificate. A nil *chainTexts remembers nothing. Safe for concurrent use.
type chainTexts struct {
	mu   sync.Mutex
	seen map[string][]*x509.Certificate // guarded by mu; the certificates never change
}

// parse is parseCertificates for a text that may come again. The caller must not change
// what it returns.
func (c *chainTexts) parse(s string) ([]*x509.Certificate, error) {
	if c == nil || len(s) > maxChainText {
		return parseCertificates(s)
	}
	c.mu.Lock()
	certs, known := c.seen[s]
	c.mu.Unlock()
	if known {
		return certs, nil
	}
	certs, err := parseCertificates(s)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil || len(c.seen) >= maxChainTexts {
		c.seen = map[string][]*x509.Certificate{}
	}
	c.seen[s] = certs[:len(certs):len(certs)]
	return certs, nil
}
