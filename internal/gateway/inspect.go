package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"math/big"
	"time"
)

// Certificate is a certificate with the gateway's record of it.
type Certificate struct {
	*x509.Certificate
	// Status is the gateway's word, such as normal, revoked or held; empty if it gives none, as
	// Entrust Certificate Services does not.
	Status string
	// Reason, Comment and RevokedAt describe the revocation of a revoked or held certificate.
	Reason, Comment string
	RevokedAt       time.Time
}

// Certificate returns the certificate of a CA with this serial number. An empty caID names
// the configured CA. The error is ErrNotDescribed or an *Error. NotKnown reports whether it
// means that the CA has no such certificate.
func (c *Client) Certificate(ctx context.Context, caID string, serial *big.Int) (Certificate, error) {
	if serial == nil || serial.Sign() <= 0 {
		return Certificate{}, invalid(OpProbe, "serial", "must be a positive number")
	}
	if caID == "" {
		caID = c.cfg.CAID
	}
	var out Certificate
	var err error
	for _, form := range hexSerials(serial, c.paddings.of(caID)) {
		err = c.askCA(ctx, caID, func(body []byte) (err error) {
			out, err = readKept(body, serial)
			return err
		}, "certificates", form)
		if !NotKnown(err) {
			break
		}
	}
	return out, err
}

// NotKnown reports whether err means that the gateway has no such resource.
func NotKnown(err error) bool { return isNotFound(err) }

// readKept reads a CertificateResponse.
func readKept(body []byte, serial *big.Int) (Certificate, error) {
	m, _ := readMembers(body)
	m, _ = readMembers(m.get("certificate"))
	if m == nil {
		return Certificate{}, errors.New("the answer holds no certificate")
	}
	for _, cert := range readBundle(m.get("certificateData")).certs {
		if cert.SerialNumber.Cmp(serial) != 0 {
			continue
		}
		out := Certificate{Certificate: cert, Status: bound(m.text("status"), maxCode)}
		if info, _ := readMembers(m.get("revocationInfo")); info != nil {
			out.Reason, out.Comment = bound(info.text("reason"), maxCode), clean(info.text("comment"))
			out.RevokedAt = eventDate(info.text("revocationDate"))
		}
		return out, nil
	}
	return Certificate{}, errors.New("the answer holds no readable certificate of this serial number")
}
