package entrustbus

import "crypto/x509"

// Track asks to wait for an order that was submitted to the gateway before, by this worker or any other program. ID and
// TrackingID are required. With a certificate request, the worker checks the certificate's key and names against it. Give one
// form of it at most.
type Track struct {
	// ID names this request, as in Issue.
	ID string `json:"id"`
	// TrackingID is the gateway's tracking id of the order, from a result or from the gateway.
	TrackingID string `json:"tracking_id"`
	// CSRPEM is the PKCS#10 certificate request that the order was submitted with, as in Issue.
	CSRPEM string `json:"csr_pem,omitempty"`
	// CSRDER is the same as DER.
	CSRDER []byte `json:"csr_der,omitempty"`
	// CAID is the gateway's certificate authority. Empty: the worker's configured one.
	CAID string `json:"ca_id,omitempty"`
	// PollMaxWaitSeconds is how long to wait, as in Issue.
	PollMaxWaitSeconds int64 `json:"poll_max_wait_seconds,omitempty"`
	// Strict refuses the request for an unknown key that is near a known one, instead of a warning in the result.
	Strict bool `json:"strict,omitempty"`
	// Labels come back in the result; the worker does not read them.
	Labels map[string]string `json:"labels,omitempty"`

	parsed *parsedCSR
	notes
}

var trackForm = form{
	title: "Track request",
	about: "Waits for an order that was submitted to the gateway before. Published to <prefix>.request.<producer>.track.",
	table: table{
		idField(func(r *Track) any { return &r.ID }),
		{key: "tracking_id", at: at(func(r *Track) any { return &r.TrackingID }), required: true,
			shape: text{most: MaxTrackingIDBytes, rule: func(key, v string) error { return checkName(key, v, MaxTrackingIDBytes) }, whatElse: document(nil).must("minLength", int64(1))},
			about: "The gateway's tracking id of the order, from a result or from the gateway." + inBytes},
		{key: "csr_pem", at: at(func(r *Track) any { return &r.CSRPEM }), shape: csrShape, digest: trackCSR,
			about: "PKCS#10 certificate request that the order was submitted with, in PEM: the worker checks the certificate against it." + inBytes},
		{key: "csr_der", at: at(func(r *Track) any { return &r.CSRDER }), shape: blob{MaxCSRBytes}, digest: uncounted,
			about: "The same as DER: base64 in JSON, bytes in MessagePack. At most 65536 bytes of DER."},
		caField(func(r *Track) any { return &r.CAID }),
		waitField(func(r *Track) any { return &r.PollMaxWaitSeconds }),
		strictField(func(r *Track) any { return &r.Strict }),
		labelsField(func(r *Track) any { return &r.Labels }),
	},
	atMostOne: []string{"csr_pem", "csr_der"},
}

func (r *Track) form() *form { return &trackForm }

// Kind is KindTrack.
func (r *Track) Kind() Kind { return KindTrack }

// OrderID is ID.
func (r *Track) OrderID() string { return r.ID }

// LabelMap is Labels.
func (r *Track) LabelMap() map[string]string { return r.Labels }

// CSR is the certificate request, as in Issue; nil, nil when none was given.
func (r *Track) CSR() (*CSR, error) {
	p, err := r.parse()
	if p == nil || err != nil {
		return nil, err
	}
	return p.CSR, nil
}

// CertificateRequest is the Request of CSR; nil, nil when none was given.
func (r *Track) CertificateRequest() (*x509.CertificateRequest, error) {
	csr, err := r.CSR()
	if csr == nil || err != nil {
		return nil, err
	}
	return csr.Request, nil
}

// Names are the subject alternative names of the certificate request, each once; nil, nil when none was given.
func (r *Track) Names() ([]SAN, error) {
	p, err := r.parse()
	if p == nil || err != nil {
		return nil, err
	}
	return append([]SAN(nil), p.names...), nil
}

func (r *Track) parse() (*parsedCSR, error) {
	if r.CSRPEM == "" && len(r.CSRDER) == 0 {
		return nil, nil
	}
	return r.parsed.of(r.CSRPEM, r.CSRDER)
}

// Validate reports the first thing about the request that the contract forbids, as a *FieldError: see Request.
func (r *Track) Validate() error {
	if err := trackForm.table.check(r); err != nil {
		return err
	}
	p, err := r.parse()
	if err != nil {
		return err
	}
	r.parsed = p
	return nil
}

func trackCSR(b []byte, message any) ([]byte, error) {
	p, err := message.(*Track).parse()
	if p == nil || err != nil {
		return b, err
	}
	return appendPart(b, "csr", string(p.Request.Raw)), nil
}
