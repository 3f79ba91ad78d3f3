package gateway

import (
	"crypto/x509"
	"sync"
	"time"
)

// maxLives bounds the memory for profiles that requests name.
const maxLives = 1024

// profileLives is how long certificates are valid that a profile gives where no validity is
// asked for. Safe for concurrent use.
type profileLives struct {
	configured map[string]time.Duration // by profile

	mu   sync.Mutex
	seen map[[2]string]time.Duration // by CA and profile; guarded by mu
}

// of returns what is known of a profile of a CA.
func (p *profileLives) of(caID, profileID string) (life time.Duration, known bool) {
	if life, known = p.configured[profileID]; known {
		return life, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	life, known = p.seen[[2]string{caID, profileID}]
	return life, known
}

// saw takes in a certificate for which no validity was asked.
func (p *profileLives) saw(caID, profileID string, cert *x509.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil || len(p.seen) >= maxLives {
		p.seen = map[[2]string]time.Duration{}
	}
	p.seen[[2]string{caID, profileID}] = cert.NotAfter.Sub(cert.NotBefore)
}

// longerThan reports whether a validity is beyond a cap by more than CAs backdate and round:
// a tenth of it, a day at most.
func longerThan(life, most time.Duration) bool {
	return life > most+min(most/10, 24*time.Hour)
}
