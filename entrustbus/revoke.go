package entrustbus

import (
	"math/big"
	"strings"
)

// Revoke asks to revoke a certificate. ID and exactly one of Serial, SerialDecimal and CertificatePEM are required.
type Revoke struct {
	// ID names this request, as in Issue.
	ID string `json:"id"`
	// Serial is the serial number in hexadecimal; any case, 0x in front, colons and leading zeros are accepted.
	Serial string `json:"serial,omitempty"`
	// SerialDecimal is the serial number in decimal.
	SerialDecimal string `json:"serial_decimal,omitempty"`
	// CertificatePEM is the certificate itself, as one PEM block.
	CertificatePEM string `json:"certificate_pem,omitempty"`
	// Reason is one of Reasons, in any case. Empty: none is given. Reasons of certctl (KeyCompromise) are the same words.
	Reason string `json:"reason,omitempty"`
	// Comment goes to the gateway: one line, at most MaxCommentBytes.
	Comment string `json:"comment,omitempty"`
	// CAID is the gateway's certificate authority. Empty: the worker's configured one.
	CAID string `json:"ca_id,omitempty"`
	// Labels come back in the result, unread.
	Labels map[string]string `json:"labels,omitempty"`
}

// Reasons are the revocation reasons that a request may give, as RFC 5280 5.3.1 names them. removeFromCRL is not among
// them: it ends a hold, and the gateway has no such request.
func Reasons() []string {
	return []string{
		"unspecified", "keyCompromise", "caCompromise", "affiliationChanged", "superseded",
		"cessationOfOperation", "certificateHold", "privilegeWithdrawn",
	}
}

// NormalReason is the RFC 5280 spelling of a reason written in any case ("KeyCompromise", "CACompromise"), and whether
// it is one at all. The empty reason is not.
func NormalReason(reason string) (string, bool) {
	for _, r := range Reasons() {
		if strings.EqualFold(r, reason) {
			return r, true
		}
	}
	return "", false
}

// Kind is KindRevoke.
func (r *Revoke) Kind() Kind { return KindRevoke }

// OrderID is ID.
func (r *Revoke) OrderID() string { return r.ID }

// LabelMap is Labels.
func (r *Revoke) LabelMap() map[string]string { return r.Labels }

// SerialNumber is the serial number, from whichever of the three forms was given: positive and at most MaxSerialBits
// long. The error is a *FieldError for the form.
func (r *Revoke) SerialNumber() (*big.Int, error) {
	given := 0
	for _, s := range []string{r.Serial, r.SerialDecimal, r.CertificatePEM} {
		if s != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, &FieldError{
			Field:   "serial",
			Problem: "is missing",
			Fix:     "give exactly one of serial, serial_decimal and certificate_pem",
		}
	case given > 1:
		return nil, &FieldError{
			Field:   "serial",
			Problem: "is given in more than one form",
			Fix:     "give exactly one of serial, serial_decimal and certificate_pem",
		}
	case r.Serial != "":
		return serialFromHex(r.Serial)
	case r.SerialDecimal != "":
		return serialFromDecimal(r.SerialDecimal)
	}
	return serialFromCertificate(r.CertificatePEM)
}

// Validate reports the first thing about the request that the contract forbids, as a *FieldError: see Request. It
// rewrites Reason to its RFC 5280 spelling.
func (r *Revoke) Validate() error {
	if !ValidToken(r.ID) {
		return errToken("id")
	}
	if _, err := r.SerialNumber(); err != nil {
		return err
	}
	if r.Reason != "" {
		reason, ok := NormalReason(r.Reason)
		if !ok {
			return &FieldError{
				Field:   "reason",
				Problem: "is no revocation reason",
				Fix:     "use one of " + strings.Join(Reasons(), ", "),
			}
		}
		r.Reason = reason
	}
	return firstError(
		checkText("comment", r.Comment, MaxCommentBytes),
		checkName("ca_id", r.CAID, MaxNameBytes),
		checkLabels(r.Labels),
	)
}

func (r *Revoke) appendFields(d document) document {
	return d.text("id", r.ID).
		text("serial", r.Serial).
		text("serial_decimal", r.SerialDecimal).
		text("certificate_pem", r.CertificatePEM).
		text("reason", r.Reason).
		text("comment", r.Comment).
		text("ca_id", r.CAID).
		labels("labels", r.Labels)
}

func (r *Revoke) readFields(f *fieldReader) {
	r.ID = f.text("id")
	r.Serial = f.text("serial")
	r.SerialDecimal = f.text("serial_decimal")
	r.CertificatePEM = f.text("certificate_pem")
	r.Reason = f.text("reason")
	r.Comment = f.text("comment")
	r.CAID = f.text("ca_id")
	r.Labels = f.labels("labels")
}
