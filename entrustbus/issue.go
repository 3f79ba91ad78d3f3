package entrustbus

import "crypto/x509"

// Issue asks for a certificate. ID and exactly one of CSRPEM and CSRDER are required; the zero value of every other
// field means "not given". An Issue may be copied and written as a literal.
type Issue struct {
	// ID names the request among all requests of its producer, of every kind: [A-Za-z0-9_-]{1,64}. The same id with
	// the same content again is a duplicate and changes nothing.
	ID string `json:"id"`
	// CSRPEM is the PKCS#10 certificate request as one PEM block.
	CSRPEM string `json:"csr_pem,omitempty"`
	// CSRDER is the same as DER: bytes in MessagePack, base64 in JSON.
	CSRDER []byte `json:"csr_der,omitempty"`
	// CommonName, if given, must be the common name of the certificate request, to the letter.
	CommonName string `json:"common_name,omitempty"`
	// SANs, if given, replace the names of the certificate request. See ParseSAN for the forms.
	SANs []string `json:"sans,omitempty"`
	// SubjectDN asks the gateway for this subject instead of the one in the certificate request.
	SubjectDN string `json:"subject_dn,omitempty"`
	// ProfileID is the gateway's enrollment profile. Empty: the worker's configured one.
	ProfileID string `json:"profile_id,omitempty"`
	// CAID is the gateway's certificate authority. Empty: the worker's configured one.
	CAID string `json:"ca_id,omitempty"`
	// ValiditySeconds is the validity asked for, in seconds, at most MaxValiditySeconds. 0: the profile's.
	ValiditySeconds int64 `json:"validity_seconds,omitempty"`
	// PollMaxWaitSeconds is how long the order may wait for approval, in seconds, from 1 to MaxPollMaxWaitSeconds.
	// 0: the worker's configured time. A worker may allow less than asked for.
	PollMaxWaitSeconds int64 `json:"poll_max_wait_seconds,omitempty"`
	// Labels come back in the result, unread.
	Labels map[string]string `json:"labels,omitempty"`

	parsed *parsedCSR
}

// Kind is KindIssue.
func (r *Issue) Kind() Kind { return KindIssue }

// OrderID is ID.
func (r *Issue) OrderID() string { return r.ID }

// LabelMap is Labels.
func (r *Issue) LabelMap() map[string]string { return r.Labels }

// CertificateRequest is the certificate request, parsed and with its signature verified, or a *FieldError for csr_pem or
// csr_der. After Validate it costs nothing. The caller must not change what it gets.
func (r *Issue) CertificateRequest() (*x509.CertificateRequest, error) {
	p, err := r.parsed.of(r.CSRPEM, r.CSRDER)
	if err != nil {
		return nil, err
	}
	return p.csr, nil
}

// Names are the names that the certificate is asked for, each once: SANs if given, else the subject alternative names of
// the certificate request. A common name alone is not among them. The error is a *FieldError.
func (r *Issue) Names() ([]SAN, error) {
	if len(r.SANs) > 0 {
		return parseSANs(r.SANs)
	}
	p, err := r.parsed.of(r.CSRPEM, r.CSRDER)
	if err != nil {
		return nil, err
	}
	return append([]SAN(nil), p.names...), nil
}

// Validate reports the first thing about the request that the contract forbids, as a *FieldError: see Request.
func (r *Issue) Validate() error {
	if !ValidToken(r.ID) {
		return errToken("id")
	}
	p, err := r.parsed.of(r.CSRPEM, r.CSRDER)
	if err != nil {
		return err
	}
	r.parsed = p
	if len(r.CommonName) > MaxNameBytes {
		return errTooLong("common_name", MaxNameBytes)
	}
	if r.CommonName != "" && r.CommonName != p.csr.Subject.CommonName {
		return &FieldError{
			Field:   "common_name",
			Problem: "is not the common name of the certificate request",
			Fix:     "leave it out, or write it exactly as the certificate request has it",
		}
	}
	if len(r.SANs) > 0 {
		if _, err := parseSANs(r.SANs); err != nil {
			return err
		}
	}
	return firstError(
		checkDN("subject_dn", r.SubjectDN),
		checkName("profile_id", r.ProfileID, MaxNameBytes),
		checkName("ca_id", r.CAID, MaxNameBytes),
		checkSeconds("validity_seconds", r.ValiditySeconds, MaxValiditySeconds),
		checkSeconds("poll_max_wait_seconds", r.PollMaxWaitSeconds, MaxPollMaxWaitSeconds),
		checkLabels(r.Labels),
	)
}

func (r *Issue) appendFields(d document) document {
	return d.text("id", r.ID).
		text("csr_pem", r.CSRPEM).
		bytes("csr_der", r.CSRDER).
		text("common_name", r.CommonName).
		list("sans", r.SANs).
		text("subject_dn", r.SubjectDN).
		text("profile_id", r.ProfileID).
		text("ca_id", r.CAID).
		number("validity_seconds", r.ValiditySeconds).
		number("poll_max_wait_seconds", r.PollMaxWaitSeconds).
		labels("labels", r.Labels)
}

func (r *Issue) readFields(f *fieldReader) {
	r.ID = f.text("id")
	r.CSRPEM = f.text("csr_pem")
	r.CSRDER = f.bytes("csr_der")
	r.CommonName = f.text("common_name")
	r.SANs = f.list("sans")
	r.SubjectDN = f.text("subject_dn")
	r.ProfileID = f.text("profile_id")
	r.CAID = f.text("ca_id")
	r.ValiditySeconds = f.seconds("validity_seconds")
	r.PollMaxWaitSeconds = f.seconds("poll_max_wait_seconds")
	r.Labels = f.labels("labels")
}
