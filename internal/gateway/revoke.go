package gateway

import (
	"context"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strings"
)

// Revocation is a request to revoke a certificate. It is safe to repeat.
type Revocation struct {
	// CAID names the CA; empty: the configured one.
	CAID string
	// Serial is the certificate's serial number, positive.
	Serial *big.Int
	// Reason is one of the gateway's reasons in RFC 5280's spelling (keyCompromise). Empty:
	// unspecified. RemoveFromCRL lifts a hold instead; the certctl dialect cannot do that.
	Reason string
	// IssueCRL asks the CA to issue a revocation list at once. Not sent in the certctl dialect.
	IssueCRL bool
	// Comment is stored by the gateway with the revocation. Not sent in the certctl dialect.
	Comment string
}

// RemoveFromCRL as Revocation.Reason lifts a hold.
const RemoveFromCRL = "removeFromCRL"

// lifts reports whether r lifts a hold.
func (r Revocation) lifts() bool { return r.Reason == RemoveFromCRL }

// reasons are the gateway's revocation reasons.
var reasons = []string{
	"unspecified", "keyCompromise", "caCompromise", "affiliationChanged",
	"superseded", "cessationOfOperation", "certificateHold", "privilegeWithdrawn",
}

// Revoke revokes a certificate, or lifts a hold. A nil error means that the gateway accepted
// the action, or that a certificate to revoke was already revoked. Any other error is an
// *Error.
func (c *Client) Revoke(ctx context.Context, r Revocation) error {
	if r.CAID == "" {
		r.CAID = c.cfg.CAID
	}
	switch r.Reason {
	case "":
		r.Reason = "unspecified"
	case "cACompromise": // as the ASN.1 module of RFC 5280 spells it
		r.Reason = "caCompromise"
	}
	switch {
	case strings.TrimSpace(r.CAID) == "":
		return invalid(OpRevoke, "ca_id", "must not be empty")
	case r.Serial == nil || r.Serial.Sign() <= 0:
		return invalid(OpRevoke, "serial", "must be a positive number")
	case !slices.Contains(reasons, r.Reason) && !r.lifts():
		return invalid(OpRevoke, "reason", "unknown; must be one of "+strings.Join(reasons, ", "))
	}
	d, err := c.dialect(ctx, OpRevoke)
	if err != nil {
		return err
	}
	if r.lifts() && d.name() == DialectCertctl {
		return invalid(OpRevoke, "reason", "the certctl dialect cannot lift a hold")
	}
	for _, serial := range d.serials(r.Serial, c.paddings.of(r.CAID)) {
		if err = c.revoke(ctx, d, r, serial); !isNotFound(err) {
			break
		}
	}
	return err
}

// isNotFound reports whether the gateway refused the call with 404.
func isNotFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Fate == Refused && e.HTTPStatus == http.StatusNotFound
}

// revoke sends the revocation with one form of the serial.
func (c *Client) revoke(ctx context.Context, d dialect, r Revocation, serial string) error {
	method, verb, body := d.revocation(r)
	got, err := c.send(ctx, call{
		op: OpRevoke, method: method, body: body,
		path: segments("certificate-authorities", r.CAID, "certificates", serial, verb),
	})
	if err != nil {
		return invalid(OpRevoke, "ca_id", "makes no valid URL")
	}
	m, problem := meansNothing, ""
	if got.success() && got.phase == phaseAnswered && !readRefusal(got.body, d.name()).own {
		word, err := d.action(got.body)
		switch {
		case err != nil:
			problem = err.Error()
		case hasWord(c.cfg.Words.Rejected, word):
			m, problem = meansRejected, clean("the gateway answered "+word)
		default:
			m = meansDone
		}
	}
	_, err = c.verdict(OpRevoke, got, m, problem)
	if err == nil && m != meansDone && r.lifts() {
		// "Already revoked" is success for a revocation, but here the hold was not lifted.
		no := readRefusal(got.body, d.name())
		return &Error{Op: OpRevoke, Fate: Refused, Class: class4xx, HTTPStatus: got.status, Code: no.code, Message: no.message, Own: true}
	}
	return err
}
