package gateway

import (
	"crypto/x509"
	"sync"
	"time"
)

// maxLives bounds the number of remembered profiles: a request may name any profile.
const maxLives = 1024

// profileLives knows how long a profile's certificates are valid if no validity is requested.
// Safe for concurrent use.
type profileLives struct {
	configured map[string]time.Duration // by profile

	mu   sync.Mutex
	seen map[[2]string]time.Duration // by CA and profile; guarded by mu
}

// of returns the validity of a profile of a CA, and whether it is known.
func (p *profileLives) of(caID, profileID string) (life time.Duration, known bool) {
	if life, known = p.configured[profileID]; known {
		return life, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	life, known = p.seen[[2]string{caID, profileID}]
	return life, known
}

// saw records the validity of a certificate for which none was requested.
func (p *profileLives) saw(caID, profileID string, cert *x509.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil || len(p.seen) >= maxLives {
		p.seen = map[[2]string]time.Duration{}
	}
	p.seen[[2]string{caID, profileID}] = cert.NotAfter.Sub(cert.NotBefore)
}

// longerThan reports whether a validity exceeds a cap by more than the tolerance for
// backdating and rounding: a tenth of the cap, a day at most.
func longerThan(life, most time.Duration) bool {
	return life > most+min(most/10, 24*time.Hour)
}
