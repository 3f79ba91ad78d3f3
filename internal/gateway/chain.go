package gateway

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// chainPause is the least time between two fetches of one CA's chain: the gateway
// counts calls in windows of ten seconds.
const chainPause = 10 * time.Second

// chainCache keeps the certificates above each CA's own.
type chainCache struct {
	fetching singleflight.Group
	failures atomic.Uint64

	mu   sync.Mutex
	byCA map[string]chainEntry // guarded by mu
}

type chainEntry struct {
	certs   []*x509.Certificate
	triedAt time.Time
	err     error // of the last fetch
}

func (c *chainCache) get(caID string) chainEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byCA[caID]
}

// put records a fetch. A failed one leaves the certificates of the last that worked.
func (c *chainCache) put(caID string, certs []*x509.Certificate, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byCA == nil {
		c.byCA = map[string]chainEntry{}
	}
	if err != nil {
		certs = c.byCA[caID].certs
	}
	c.byCA[caID] = chainEntry{certs, time.Now(), err}
}

// chainOf returns the chain above the certificate. It is fetched from the CA's
// resource once and again only when a certificate does not hang under it, as after a
// renewal of the CA. Where that fails, or ctx ends, there is no chain: an issued
// certificate is worth more than its chain, so this is counted and logged, no error.
func (c *Client) chainOf(ctx context.Context, caID string, leaf *x509.Certificate) []*x509.Certificate {
	entry := c.chains.get(caID)
	above := arrange(leaf, entry.certs)
	if linked(leaf, above) {
		return above
	}
	if time.Since(entry.triedAt) >= chainPause {
		fetched := c.chains.fetching.DoChan(caID, func() (any, error) {
			if c.chains.get(caID).triedAt.After(entry.triedAt) {
				return nil, nil // the fetch before this one ended just now
			}
			certs, err := c.fetchChain(context.WithoutCancel(ctx), caID)
			c.chains.put(caID, certs, err)
			return nil, nil
		})
		select {
		case <-ctx.Done():
		case <-fetched:
		}
		entry = c.chains.get(caID)
		above = arrange(leaf, entry.certs)
	}
	// A chain that was just fetched and does not fit is handed on, for CheckIssued to
	// judge. An old one may be merely old.
	if linked(leaf, above) || entry.err == nil && !entry.triedAt.IsZero() && ctx.Err() == nil {
		return above
	}
	c.chains.failures.Add(1)
	c.log.Warn("gateway: the chain of an issued certificate could not be fetched; it is handed out without", "ca_id", caID, "err", entry.err)
	return nil
}

// fetchChain reads the CA's own certificate and those above it.
func (c *Client) fetchChain(ctx context.Context, caID string) ([]*x509.Certificate, error) {
	r, err := c.send(ctx, call{
		op: OpProbe, method: http.MethodGet,
		path:  segments("certificate-authorities", caID),
		query: url.Values{"$fields": {"ca.certificate,ca.chain"}},
	})
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	m, problem := meansNothing, ""
	if r.success() && r.phase == phaseAnswered {
		if certs, err = readChain(r.body); err == nil {
			m = meansDone
		} else {
			problem = err.Error()
		}
	}
	_, err = c.verdict(OpProbe, r, m, problem)
	return certs, err
}

// readChain reads the certificates in the answer to GET …/{caId} with $fields.
func readChain(body []byte) ([]*x509.Certificate, error) {
	type member struct {
		Certificate string `json:"certificateData"`
	}
	var wire struct {
		CA *struct {
			Own   member   `json:"certificate"`
			Chain []member `json:"chain"`
		} `json:"ca"`
	}
	if err := parseObject(body, &wire); err != nil {
		return nil, err
	}
	if wire.CA == nil {
		return nil, errors.New("the answer holds no CA")
	}
	var all []*x509.Certificate
	for _, m := range append([]member{wire.CA.Own}, wire.CA.Chain...) {
		certs, err := parseCertificates(m.Certificate)
		if err != nil {
			return nil, err
		}
		all = append(all, certs...)
	}
	if len(all) == 0 {
		return nil, errors.New("the answer holds no certificate of the CA")
	}
	return all, nil
}

// arrange orders the certificates above the leaf so that each issued the one before
// it, and leaves out the leaf, repetitions and what does not belong to the path.
// Where none issued the leaf, all but the leaf come back as they were.
func arrange(leaf *x509.Certificate, pool []*x509.Certificate) []*x509.Certificate {
	pool = slices.DeleteFunc(slices.Clone(pool), leaf.Equal)
	var path []*x509.Certificate
	for cert := leaf; ; {
		i := slices.IndexFunc(pool, func(p *x509.Certificate) bool { return issued(p, cert) })
		if i < 0 {
			break
		}
		cert = pool[i]
		path = append(path, cert)
		pool = slices.DeleteFunc(pool, cert.Equal)
	}
	if len(path) == 0 {
		return pool
	}
	return path
}

// issued reports whether the parent seems to have issued the child: by name and key
// id, and by signature only where a key id is missing. CheckIssued verifies signatures.
func issued(parent, child *x509.Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return false
	}
	if len(parent.SubjectKeyId) > 0 && len(child.AuthorityKeyId) > 0 {
		return bytes.Equal(parent.SubjectKeyId, child.AuthorityKeyId)
	}
	return signed(parent, child) == nil
}

// linked reports whether the chain is one above the leaf.
func linked(leaf *x509.Certificate, chain []*x509.Certificate) bool {
	return len(chain) > 0 && issued(chain[0], leaf)
}

// signed verifies that the parent signed the child. A key of a kind that crypto/x509
// does not know, as in post-quantum CAs, is judged by the names alone.
func signed(parent, child *x509.Certificate) error {
	err := child.CheckSignatureFrom(parent)
	if errors.Is(err, x509.ErrUnsupportedAlgorithm) && bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return nil
	}
	return err
}
