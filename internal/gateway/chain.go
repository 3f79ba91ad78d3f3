package gateway

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// chainPause is the shortest time between two fetches of one CA's chain. The gateway
// counts calls in windows of ten seconds.
const chainPause = 10 * time.Second

// maxChains bounds the number of CAs for which a failed fetch is recorded.
const maxChains = 256

// chainCache keeps, for each CA, its own certificate and those above it. The zero value is
// empty. Safe for concurrent use.
type chainCache struct {
	fetching singleflight.Group
	failures atomic.Uint64

	mu     sync.Mutex
	byCA   map[string]chainEntry // guarded by mu
	misfit map[string]bool       // by CA and issuer: already logged; guarded by mu
}

type chainEntry struct {
	given   bundle
	own     *x509.Certificate // of given, the CA's; nil: missing or unreadable
	readAt  time.Time         // of given
	triedAt time.Time
	err     error // of the last fetch
}

func (c *chainCache) get(caID string) chainEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byCA[caID]
}

// put records a fetch. A failed fetch keeps the certificates of the last successful one.
func (c *chainCache) put(caID string, given bundle, own *x509.Certificate, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byCA == nil {
		c.byCA = map[string]chainEntry{}
	}
	entry, known := c.byCA[caID]
	if !known && err != nil && len(c.byCA) >= maxChains {
		return // a producer can invent any number of CA ids
	}
	entry.triedAt, entry.err = time.Now(), err
	if err == nil {
		entry.given, entry.own, entry.readAt = given, own, entry.triedAt
	}
	c.byCA[caID] = entry
}

// unlike records that the gateway gave no certificate with the name of the leaf's issuer for
// this CA. It reports whether that was not recorded before.
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

// chainOf returns the chain above the certificate, and counts what the CA's resource gave
// beside it. It fetches the resource once, and again only when a certificate does not link
// to it, as after a renewal of the CA. If the fetch fails, if ctx ends, or if the resource is
// about another issuer, there is no chain. That is counted and logged, and is no error: a
// missing chain must not hold a certificate back.
func (c *Client) chainOf(ctx context.Context, caID string, leaf *x509.Certificate) ([]*x509.Certificate, leftOut) {
	entry := c.chains.get(caID)
	above, left := c.links.above(leaf, entry.given, time.Now())
	if len(above) > 0 {
		return above, left
	}
	if time.Since(entry.triedAt) >= chainPause {
		entry = c.refetch(ctx, caID, entry.triedAt)
		above, left = c.links.above(leaf, entry.given, time.Now())
	}
	if len(above) > 0 {
		return above, left
	}
	if entry.err == nil && !entry.triedAt.IsZero() && ctx.Err() == nil {
		c.unchained(caID, leaf)
	} else {
		left.unfetched = true
		c.chains.failures.Add(1)
		c.log.Warn("gateway: fetching the chain of an issued certificate failed; the result has no chain", "ca_id", caID, "err", entry.err)
	}
	return nil, left
}

// refetch fetches the chain of a CA unless another caller did so after the instant tried. It
// returns the CA's entry when the fetch or ctx ends. All waiting callers share one fetch.
func (c *Client) refetch(ctx context.Context, caID string, tried time.Time) chainEntry {
	// The fetch goes on when ctx ends, so it must not share variables that change here.
	done := c.chains.fetching.DoChan(caID, func() (any, error) {
		if c.chains.get(caID).triedAt.After(tried) {
			return nil, nil // another fetch has just ended
		}
		given, own, err := c.fetchChain(context.WithoutCancel(ctx), caID)
		c.chains.put(caID, given, own, err)
		return nil, nil
	})
	select {
	case <-ctx.Done():
	case <-done:
	}
	return c.chains.get(caID)
}

// unchained counts a certificate whose issuer is not among the certificates that the gateway
// gave, as where a CA was renewed or has several issuers. The certificate itself may be good.
func (c *Client) unchained(caID string, leaf *x509.Certificate) {
	c.chains.failures.Add(1)
	if c.chains.unlike(caID, leaf) {
		c.log.Warn("gateway: the chain that the gateway gives does not hold the issuer of a certificate; results have no chain", "ca_id", caID)
	}
}

// fetchChain reads the CA's own certificate and those above it. given holds all of them.
func (c *Client) fetchChain(ctx context.Context, caID string) (given bundle, own *x509.Certificate, err error) {
	err = c.ask(ctx, url.Values{"$fields": {"ca.certificate,ca.chain"}}, func(body []byte) (err error) {
		given, own, err = readChain(body)
		return err
	}, "certificate-authorities", caID)
	return given, own, err
}

// readChain reads the certificates in the answer to GET …/{caId} with $fields.
func readChain(body []byte) (all bundle, own *x509.Certificate, err error) {
	m, _ := readMembers(body)
	if m == nil {
		return bundle{}, nil, errNoObject(body)
	}
	ca, _ := readMembers(m.get("ca"))
	if ca == nil {
		return bundle{}, nil, errors.New("the answer holds no CA")
	}
	all = readBundle(ca.get("certificate"))
	if len(all.certs) > 0 {
		own = all.certs[0]
	}
	all.add(readBundle(ca.get("chain")))
	if len(all.certs) == 0 {
		return bundle{}, nil, errors.New("the answer holds no certificate of the CA that can be read")
	}
	return all, own, nil
}

// leftOut counts the certificates that the gateway gave as a chain and that are no part of it.
type leftOut struct {
	unread  int // cannot be read
	expired int // not in force
	other   int // not above the certificate, or above it by another path
	// none: the path is empty. unfetched: the fetch failed.
	none, unfetched bool
}

func (l leftOut) any() bool { return l.unread+l.expired+l.other > 0 }

// warning returns one line for the result; "" if nothing was left out.
func (l leftOut) warning() string {
	if l.unfetched {
		return "chain: could not be fetched from the gateway"
	}
	if !l.any() {
		return ""
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{l.unread, "cannot be read"}, {l.expired, "not in force"}, {l.other, "not part of the path"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	what := "chain: left out some of the gateway's certificates: "
	if l.none {
		what = "chain: none of the gateway's certificates can be used: "
	}
	return what + strings.Join(parts, ", ")
}

// above returns the certificates above the leaf. Each signed the one before it and is in
// force. The path ends with a certificate that names itself as its issuer. Of two that fit,
// as when a root is renewed, above takes the first. left counts the other certificates,
// without repetitions and the leaf itself.
func (l *links) above(leaf *x509.Certificate, given bundle, now time.Time) (path []*x509.Certificate, left leftOut) {
	var pool []*x509.Certificate
	for _, cert := range given.certs {
		if !cert.Equal(leaf) && !slices.ContainsFunc(pool, cert.Equal) {
			pool = append(pool, cert)
		}
	}
	for child := leaf; child == leaf || !bytes.Equal(child.RawSubject, child.RawIssuer); {
		i := slices.IndexFunc(pool, func(p *x509.Certificate) bool {
			return wrongValidity(p, now, time.Time{}) == "" && l.issued(p, child, child == leaf)
		})
		if i < 0 {
			break
		}
		child = pool[i]
		path = append(path, child)
		pool = slices.Delete(pool, i, i+1)
	}
	left = leftOut{unread: given.unread, none: len(path) == 0}
	for _, cert := range pool {
		if wrongValidity(cert, now, time.Time{}) != "" {
			left.expired++
		} else {
			left.other++
		}
	}
	return path, left
}

// issued reports whether the parent issued the child, by name, key id and signature. The
// result for a leaf is not remembered: each leaf has a new signature.
func (l *links) issued(parent, child *x509.Certificate, leaf bool) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) ||
		len(parent.SubjectKeyId) > 0 && len(child.AuthorityKeyId) > 0 && !bytes.Equal(parent.SubjectKeyId, child.AuthorityKeyId) {
		return false
	}
	if leaf {
		return signed(parent, child) == nil
	}
	return l.verify(parent, child) == nil
}

// signed verifies that the parent signed the child. crypto/x509 does not know some
// signatures, as in post-quantum CAs, and no longer verifies others, as SHA-1 in old CAs.
// For those the names alone decide.
func signed(parent, child *x509.Certificate) error {
	err := child.CheckSignatureFrom(parent)
	_, insecure := errors.AsType[x509.InsecureAlgorithmError](err)
	if (insecure || errors.Is(err, x509.ErrUnsupportedAlgorithm)) && bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return nil
	}
	return err
}
