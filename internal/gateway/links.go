package gateway

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
)

// maxLinks bounds the number of remembered links: many times the CAs behind one gateway.
const maxLinks = 256

// links remembers which CA certificate signed which. All certificates of an issuer share the
// chain above it, and verifying a signature costs many times as much as the rest of the
// check. A nil *links remembers nothing. Safe for concurrent use.
type links struct {
	mu   sync.Mutex
	seen map[link]struct{} // guarded by mu
}

// link is a pair of certificates, each as the SHA-256 of its DER.
type link struct{ parent, child [sha256.Size]byte }

// verify reports whether the parent signed the child, as signed does.
func (l *links) verify(parent, child *x509.Certificate) error {
	if l == nil {
		return signed(parent, child)
	}
	pair := link{sha256.Sum256(parent.Raw), sha256.Sum256(child.Raw)}
	l.mu.Lock()
	_, known := l.seen[pair]
	l.mu.Unlock()
	if known {
		return nil
	}
	if err := signed(parent, child); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || len(l.seen) >= maxLinks {
		l.seen = map[link]struct{}{}
	}
	l.seen[pair] = struct{}{}
	return nil
}
