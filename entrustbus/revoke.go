package entrustbus

import "math/big"

// Revoke asks to revoke a certificate. ID and exactly one of Serial, SerialDecimal and CertificatePEM are required.
type Revoke struct {
	// ID names this request, as in Issue.
	ID string `json:"id"`
	// Serial is the serial number in hexadecimal. Forms of other tools are accepted: upper and lower case, 0x or serial= in
	// front, colons, hyphens, blanks, line ends and leading zeros.
	Serial string `json:"serial,omitempty"`
	// SerialDecimal is the serial number in decimal.
	SerialDecimal string `json:"serial_decimal,omitempty"`
	// CertificatePEM is the certificate itself, as one PEM block, in any form that Issue.CSRPEM may have.
	CertificatePEM string `json:"certificate_pem,omitempty"`
	// Reason is one of Reasons or ReasonRemoveFromCRL, in any form that NormalReason knows. Empty: none is given.
	Reason string `json:"reason,omitempty"`
	// Comment goes to the gateway: one line, at most MaxCommentBytes.
	Comment string `json:"comment,omitempty"`
	// IssueCRL asks the gateway to issue a revocation list at once.
	IssueCRL bool `json:"issue_crl,omitempty"`
	// CAID is the gateway's certificate authority. Empty: the worker's configured one.
	CAID string `json:"ca_id,omitempty"`
	// Strict refuses the request for an unknown key that is near a known one, instead of a warning in the result.
	Strict bool `json:"strict,omitempty"`
	// Labels come back in the result; the worker does not read them.
	Labels map[string]string `json:"labels,omitempty"`

	notes
}

var revokeForm = form{
	title: "Revoke request",
	about: "Asks to revoke a certificate. Published to <prefix>.request.<producer>.revoke.",
	table: table{
		idField(func(r *Revoke) any { return &r.ID }),
		{key: "serial", at: at(func(r *Revoke) any { return &r.Serial }), shape: text{pattern: `^(\s*([sS]erial([nN]umber)?\s*[:=])?\s*(0[xX])?[0-9A-Fa-f]+([:\- \s]+[0-9A-Fa-f]+)*\s*)?$`}, digest: revokeSerial,
			about: "Serial number in hexadecimal, positive, at most 20 octets. Forms of other tools are accepted: upper and lower case, 0x or serial= in front, colons, hyphens, blanks, line ends and leading zeros."},
		{key: "serial_decimal", at: at(func(r *Revoke) any { return &r.SerialDecimal }), shape: text{pattern: "^(0*[1-9][0-9]{0,48})?$"}, digest: uncounted,
			about: "The serial number in decimal, as a string."},
		{key: "certificate_pem", at: at(func(r *Revoke) any { return &r.CertificatePEM }), shape: text{most: MaxCSRBytes, pem: &certificateThing}, digest: uncounted,
			about: "The certificate in PEM. Text around the block is ignored." + inBytes},
		{key: "reason", at: at(func(r *Revoke) any { return &r.Reason }), shape: text{rule: checkReason, numbers: true, pattern: "^[A-Za-z0-9_ -]{0,64}$"}, digest: revokeReason,
			about: "RFC 5280 5.3.1: unspecified, keyCompromise, caCompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn, or removeFromCRL to lift a hold. In upper or lower case, in snake_case, or as the RFC's number."},
		{key: "comment", at: at(func(r *Revoke) any { return &r.Comment }), shape: text{most: MaxCommentBytes, line: true},
			about: "One line for the gateway." + inBytes},
		{key: "issue_crl", at: at(func(r *Revoke) any { return &r.IssueCRL }), shape: flag{},
			about: "Asks the gateway to issue a revocation list at once."},
		caField(func(r *Revoke) any { return &r.CAID }),
		strictField(func(r *Revoke) any { return &r.Strict }),
		labelsField(func(r *Revoke) any { return &r.Labels }),
	},
	exactlyOne: []string{"serial", "serial_decimal", "certificate_pem"},
}

func (r *Revoke) form() *form { return &revokeForm }

// Kind is KindRevoke.
func (r *Revoke) Kind() Kind { return KindRevoke }

// OrderID is ID.
func (r *Revoke) OrderID() string { return r.ID }

// LabelMap is Labels.
func (r *Revoke) LabelMap() map[string]string { return r.Labels }

// SerialNumber is the serial number, from the form that was given: positive and at most MaxSerialBits
// long. The error is a *FieldError for the form.
func (r *Revoke) SerialNumber() (*big.Int, error) {
	given := 0
	for _, s := range []string{r.Serial, r.SerialDecimal, r.CertificatePEM} {
		if s != "" {
			given++
		}
	}
	const oneOf = "give exactly one of serial, serial_decimal and certificate_pem"
	switch {
	case given == 0:
		return nil, &FieldError{Field: "serial", Problem: "is missing", Fix: oneOf}
	case given > 1:
		return nil, &FieldError{Field: "serial", Problem: "is given in more than one form", Fix: oneOf}
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
	if err := revokeForm.table.check(r); err != nil {
		return err
	}
	if _, err := r.SerialNumber(); err != nil {
		return err
	}
	if reason, ok := NormalReason(r.Reason); ok {
		r.Reason = reason
	}
	return nil
}

func revokeSerial(b []byte, message any) ([]byte, error) {
	serial, err := message.(*Revoke).SerialNumber()
	if err != nil {
		return nil, err
	}
	return appendPart(b, "serial", serial.Text(16)), nil
}

func revokeReason(b []byte, message any) ([]byte, error) {
	reason := message.(*Revoke).Reason
	if normal, ok := NormalReason(reason); ok {
		reason = normal
	}
	return appendPart(b, "reason", reason), nil
}
