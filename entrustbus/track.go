package entrustbus

import "crypto/x509"

// Track asks to wait for an order that was submitted to the gateway before, by whomever. ID and TrackingID are required.
// With a certificate request the certificate's key and names are checked against it; at most one form may be given.
type Track struct {
	// ID names this request, as in Issue.
	ID string `json:"id"`
	// TrackingID is the gateway's name of the order, as a result or the gateway itself gave it.
	TrackingID string `json:"tracking_id"`
	// CSRPEM is the PKCS#10 certificate request that the order was submitted with, as one PEM block.
	CSRPEM string `json:"csr_pem,omitempty"`
	// CSRDER is the same as DER.
	CSRDER []byte `json:"csr_der,omitempty"`
	// CAID is the gateway's certificate authority. Empty: the worker's configured one.
	CAID string `json:"ca_id,omitempty"`
	// PollMaxWaitSeconds is how long to wait, as in Issue.
	PollMaxWaitSeconds int64 `json:"poll_max_wait_seconds,omitempty"`
	// Labels come back in the result, unread.
	Labels map[string]string `json:"labels,omitempty"`

	parsed *parsedCSR
}

// Kind is KindTrack.
func (r *Track) Kind() Kind { return KindTrack }

// OrderID is ID.
func (r *Track) OrderID() string { return r.ID }

// LabelMap is Labels.
func (r *Track) LabelMap() map[string]string { return r.Labels }

// CertificateRequest is the certificate request, parsed and with its signature verified; nil, nil when none was given.
// After Validate it costs nothing. The caller must not change what it gets.
func (r *Track) CertificateRequest() (*x509.CertificateRequest, error) {
	p, err := r.parse()
	if p == nil || err != nil {
		return nil, err
	}
	return p.csr, nil
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
	if !ValidToken(r.ID) {
		return errToken("id")
	}
	if r.TrackingID == "" {
		return errMissing("tracking_id")
	}
	if err := checkName("tracking_id", r.TrackingID, MaxTrackingIDBytes); err != nil {
		return err
	}
	p, err := r.parse()
	if err != nil {
		return err
	}
	r.parsed = p
	return firstError(
		checkName("ca_id", r.CAID, MaxNameBytes),
		checkSeconds("poll_max_wait_seconds", r.PollMaxWaitSeconds, MaxPollMaxWaitSeconds),
		checkLabels(r.Labels),
	)
}

func (r *Track) appendFields(d document) document {
	return d.text("id", r.ID).
		text("tracking_id", r.TrackingID).
		text("csr_pem", r.CSRPEM).
		bytes("csr_der", r.CSRDER).
		text("ca_id", r.CAID).
		number("poll_max_wait_seconds", r.PollMaxWaitSeconds).
		labels("labels", r.Labels)
}

func (r *Track) readFields(f *fieldReader) {
	r.ID = f.text("id")
	r.TrackingID = f.text("tracking_id")
	r.CSRPEM = f.text("csr_pem")
	r.CSRDER = f.bytes("csr_der")
	r.CAID = f.text("ca_id")
	r.PollMaxWaitSeconds = f.seconds("poll_max_wait_seconds")
	r.Labels = f.labels("labels")
}
