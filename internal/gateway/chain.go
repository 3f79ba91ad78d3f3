package gateway

import (
	"bytes"
	"cmp"
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

	mu     sync.Mutex
	byCA   map[string]chainEntry // guarded by mu
	misfit map[string]bool       // by CA and issuer: logged before; guarded by mu
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

// unlike notes that certificates of the CA came with none that bears the name of the
// leaf's issuer, and reports whether that is news.
func (c *chainCache) unlike(caID string, leaf *x509.Certificate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := caID + "\n" + string(leaf.RawIssuer)
	if c.misfit[key] || len(c.misfit) >= maxLinks {
		return false
	}
	if c.misfit == nil {
		c.misfit = map[string]bool{}
	}
	c.misfit[key] = true
	return true
}

// chainOf returns the chain above the certificate. It is fetched from the CA's
// resource once and again only when a certificate does not hang under it, as after a
// renewal of the CA. Where that fails, ctx ends, or the resource is about another
// issuer, there is no chain: an issued certificate is worth more than its chain, so
// this is counted and logged, no error.
func (c *Client) chainOf(ctx context.Context, caID string, leaf *x509.Certificate) []*x509.Certificate {
	entry := c.chains.get(caID)
	above := arrange(leaf, entry.certs, time.Now())
	if linked(leaf, above) {
		return above
	}
	if tried := entry.triedAt; time.Since(tried) >= chainPause {
		// It goes on where ctx ends, so that it may share nothing that changes here.
		done := c.chains.fetching.DoChan(caID, func() (any, error) {
			if c.chains.get(caID).triedAt.After(tried) {
				return nil, nil // the fetch before this one ended just now
			}
			certs, err := c.fetchChain(context.WithoutCancel(ctx), caID)
			c.chains.put(caID, certs, err)
			return nil, nil
		})
		select {
		case <-ctx.Done():
		case <-done:
		}
		entry = c.chains.get(caID)
		above = arrange(leaf, entry.certs, time.Now())
	}
	fetched := entry.err == nil && !entry.triedAt.IsZero() && ctx.Err() == nil
	switch {
	case linked(leaf, above):
		return above
	case fetched && len(above) > 0:
		// Of the issuer's name, and just fetched: CheckIssued judges it. An old one may be
		// merely old.
		return above
	case fetched:
		c.unchained(caID, leaf)
	default:
		c.chains.failures.Add(1)
		c.log.Warn("gateway: the chain of an issued certificate could not be fetched; it is handed out without", "ca_id", caID, "err", entry.err)
	}
	return nil
}

// unchained counts a certificate whose issuer is not among those that the gateway
// gave, as where a CA was renewed or has several issuers. It says nothing against the
// certificate.
func (c *Client) unchained(caID string, leaf *x509.Certificate) {
	c.chains.failures.Add(1)
	if c.chains.unlike(caID, leaf) {
		c.log.Warn("gateway: the issuer of certificates is not in the chain that the gateway gives; they are handed out without", "ca_id", caID)
	}
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
// it, up to one that names itself as its issuer, and leaves out the leaf, repetitions
// and what does not belong to the path. Of two that fit, as when a root is renewed, one
// in force is taken. Where none issued the leaf, all but the leaf come back as they
// were if one bears the issuer's name, and none otherwise.
func arrange(leaf *x509.Certificate, pool []*x509.Certificate, now time.Time) []*x509.Certificate {
	pool = slices.DeleteFunc(slices.Clone(pool), leaf.Equal)
	var path []*x509.Certificate
	for cert := leaf; cert == leaf || !bytes.Equal(cert.RawSubject, cert.RawIssuer); {
		parent := issuerOf(cert, pool, now)
		if parent == nil {
			break
		}
		cert = parent
		path = append(path, cert)
		pool = slices.DeleteFunc(pool, cert.Equal)
	}
	named := func(p *x509.Certificate) bool { return bytes.Equal(p.RawSubject, leaf.RawIssuer) }
	if len(path) == 0 && slices.ContainsFunc(pool, named) {
		return pool
	}
	return path
}

// issuerOf returns the certificate of the pool that issued the child, in force if there
// is such a one; nil if there is none.
func issuerOf(child *x509.Certificate, pool []*x509.Certificate, now time.Time) (parent *x509.Certificate) {
	for _, p := range pool {
		if !issued(p, child) {
			continue
		}
		if wrongValidity(p, now) == "" {
			return p
		}
		parent = cmp.Or(parent, p)
	}
	return parent
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

// signed verifies that the parent signed the child. A signature of a kind that
// crypto/x509 does not know, as in post-quantum CAs, or does not verify any more, as
// SHA-1 in old ones, is judged by the names alone.
func signed(parent, child *x509.Certificate) error {
	err := child.CheckSignatureFrom(parent)
	_, insecure := errors.AsType[x509.InsecureAlgorithmError](err)
	if (insecure || errors.Is(err, x509.ErrUnsupportedAlgorithm)) && bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return nil
	}
	return err
}
