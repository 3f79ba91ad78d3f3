package gateway

import (
	"context"
	"errors"
	"time"
)

// ErrNoCertificates means that the gateway's dialect cannot return certificates of CAs.
var ErrNoCertificates = errors.New("gateway: the certctl dialect has no certificates of CAs")

// caAge is how long the certificates of a CA count as fresh: a renewed CA keeps using its
// old certificate for days.
const caAge = 10 * time.Minute

// CA holds the certificates of a CA, as the gateway returned them.
type CA struct {
	ID string
	// Certificate is the CA's own certificate, Chain the certificates above it, nearest
	// first. All are DER.
	Certificate []byte
	Chain       [][]byte
	// Warning says which of the gateway's certificates are left out; "" if none is.
	Warning string
}

// KnownCA returns the certificates of a CA as they were last read. fresh reports whether
// that was less than ten minutes ago, ok whether they were ever read. An empty caID names
// the configured CA. KnownCA sends nothing.
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

// CA reads the certificates of a CA; an empty caID names the configured one. It asks for one
// CA at most every ten seconds. In between it returns what it last read, or the last error.
// The error is ErrNoCertificates, the cause of ctx, or an *Error. Its fate is Refused or
// NotFound where the gateway does not know the CA.
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
	return CA{}, &Error{Op: OpProbe, Fate: Unreadable, Class: classOther, Message: "the answer holds no readable certificate of the CA itself"}
}

// describe orders the certificates of an entry from the CA upwards, and sets the warning.
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
