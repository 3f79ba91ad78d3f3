package entrustbus

import "crypto/x509"

// Complete is a request of an operator. It ends an order with a certificate that was issued for it and that the worker did
// not see. All three fields are required. The worker checks the certificate like one that the gateway sends.
type Complete struct {
	// ID names this request, as in Issue.
	ID string `json:"id"`
	// Order is the id of the order that the certificate is for.
	Order string `json:"order"`
	// CertificatePEM is the certificate, as one PEM block, in any form that Issue.CSRPEM may have.
	CertificatePEM string `json:"certificate_pem"`

	notes
}

var completeForm = form{
	title: "Complete request",
	about: "Ends an order with a certificate that was issued for it. For operators: published to <prefix>.operator.<producer>.complete.",
	table: table{
		idField(func(r *Complete) any { return &r.ID }),
		orderField(func(r *Complete) any { return &r.Order }, "The id of the order that the certificate is for."),
		{key: "certificate_pem", at: at(func(r *Complete) any { return &r.CertificatePEM }), required: true, digest: completeCertificate,
			shape: text{most: MaxCSRBytes, pem: &certificateThing, whatElse: document(nil).must("minLength", int64(1))},
			about: "The certificate in PEM. Text around the block is ignored." + inBytes},
	},
}

func (r *Complete) form() *form { return &completeForm }

// Kind is KindComplete.
func (r *Complete) Kind() Kind { return KindComplete }

// OrderID is ID: the id of this request, not of the order it ends.
func (r *Complete) OrderID() string { return r.ID }

// LabelMap is nil.
func (r *Complete) LabelMap() map[string]string { return nil }

// Certificate is the certificate, parsed, or a *FieldError for certificate_pem.
func (r *Complete) Certificate() (*x509.Certificate, error) {
	if r.CertificatePEM == "" {
		return nil, errMissing("certificate_pem")
	}
	return parseCertificate("certificate_pem", r.CertificatePEM)
}

// Validate reports the first thing about the request that the contract forbids, as a *FieldError: see Request.
func (r *Complete) Validate() error {
	if err := completeForm.table.check(r); err != nil {
		return err
	}
	_, err := r.Certificate()
	return firstError(checkOrder(r.ID, r.Order), err)
}

func completeCertificate(b []byte, message any) ([]byte, error) {
	cert, err := message.(*Complete).Certificate()
	if err != nil {
		return nil, err
	}
	return appendPart(b, "certificate", string(cert.Raw)), nil
}

// Resolve is a request of an operator. It ends an order without a certificate as not issued: the operator found that the
// gateway issued nothing for it. ID and Order are required.
type Resolve struct {
	// ID names this request, as in Issue.
	ID string `json:"id"`
	// Order is the id of the order to end.
	Order string `json:"order"`
	// Comment says how the operator found out: one line, at most MaxCommentBytes.
	Comment string `json:"comment,omitempty"`

	notes
}

var resolveForm = form{
	title: "Resolve request",
	about: "Ends an order as not issued: an operator found that the gateway issued nothing for it. For operators: published to <prefix>.operator.<producer>.resolve.",
	table: table{
		idField(func(r *Resolve) any { return &r.ID }),
		orderField(func(r *Resolve) any { return &r.Order }, "The id of the order to end."),
		{key: "comment", at: at(func(r *Resolve) any { return &r.Comment }), shape: text{most: MaxCommentBytes, line: true},
			about: "How the operator found out." + inBytes},
	},
}

func (r *Resolve) form() *form { return &resolveForm }

// Kind is KindResolve.
func (r *Resolve) Kind() Kind { return KindResolve }

// OrderID is ID: the id of this request, not of the order it ends.
func (r *Resolve) OrderID() string { return r.ID }

// LabelMap is nil.
func (r *Resolve) LabelMap() map[string]string { return nil }

// Validate reports the first thing about the request that the contract forbids, as a *FieldError: see Request.
func (r *Resolve) Validate() error {
	if err := resolveForm.table.check(r); err != nil {
		return err
	}
	return checkOrder(r.ID, r.Order)
}
