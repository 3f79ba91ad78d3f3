package gateway

import (
	"context"
	"errors"
	"time"
)

// ErrNoCertificates says that the gateway's dialect has no certificates of CAs.
var ErrNoCertificates = errors.New("gateway: the certctl dialect has no certificates of CAs")

// caAge is how long the certificates of a CA are believed: a CA that is renewed goes on with
// its old certificate for days.
const caAge = 10 * time.Minute

// CA is what the gateway gives of a CA.
type CA struct {
	ID string
	// Certificate is the CA's own, DER; Chain those above it, nearest first.
	Certificate []byte
	Chain       [][]byte
	// Warning says what was given beside these and left out; "" for nothing.
	Warning string
}

// KnownCA returns what the gateway gave of a CA, as it was read last, and whether that is
// no older than ten minutes. "" is the configured CA. It sends nothing.
func (c *Client) KnownCA(caID string) (ca CA, fresh, ok bool) {
	if caID == "" {
		caID = c.cfg.CAID
	}
	entry := c.chains.get(caID)
	if entry.own == nil {
		return CA{}, false, false
	}
	return c.describe(caID, entry), time.Since(entry.readAt) < caAge, true
}

// CA reads the certificates of a CA; "" is the configured one. It asks for one CA at most
// every ten seconds. The error is ErrNoCertificates, the end of ctx, or an *Error: of fate
// Refused or NotFound where the gateway does not know the CA.
func (c *Client) CA(ctx context.Context, caID string) (CA, error) {
	if caID == "" {
		caID = c.cfg.CAID
	}
	speaks, err := c.dialect(ctx, OpProbe)
	if err != nil {
		return CA{}, err
	}
	if speaks.name() == DialectCertctl {
		return CA{}, ErrNoCertificates
	}
	entry := c.chains.get(caID)
	if time.Since(entry.triedAt) >= chainPause {
		entry = c.refetch(ctx, caID, entry.triedAt)
	}
	switch {
	case entry.own != nil:
		return c.describe(caID, entry), nil
	case ctx.Err() != nil:
		return CA{}, context.Cause(ctx)
	case entry.err != nil:
		return CA{}, entry.err
	}
	return CA{}, &Error{Op: OpProbe, Fate: Unreadable, Class: classOther, Message: "the gateway gives no certificate of the CA itself that can be read"}
}

// describe puts the certificates in order.
func (c *Client) describe(caID string, entry chainEntry) CA {
	now := time.Now()
	ca := CA{ID: caID, Certificate: entry.own.Raw}
	above, left := c.links.above(entry.own, entry.given, now)
	for _, cert := range above {
		ca.Chain = append(ca.Chain, cert.Raw)
	}
	ca.Warning = left.warning()
	if problem := wrongValidity(entry.own, now, time.Time{}); problem != "" {
		ca.Warning = "certificate of the CA: " + problem
	}
	return ca
}
