package entrustbus

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// SubjectOmit as Issue.SubjectDN asks for a certificate without the certificate request's subject.
const SubjectOmit = "omit"

// Issue asks for a certificate. ID and exactly one of CSRPEM and CSRDER are required; the zero value of every other
// field means "not given". An Issue may be copied and written as a literal.
type Issue struct {
	// ID is unique among all requests of its producer, of every kind: [A-Za-z0-9_-]{1,64}. The same id with the same
	// content again is a duplicate and changes nothing.
	ID string `json:"id"`
	// CSRPEM is the PKCS#10 certificate request as one PEM block. Text around it is ignored; base64 without the lines of
	// PEM, and DER, are read as well.
	CSRPEM string `json:"csr_pem,omitempty"`
	// CSRDER is the same as DER: bytes in MessagePack, base64 in JSON. PEM is read as well.
	CSRDER []byte `json:"csr_der,omitempty"`
	// CommonName, if given, must be the common name of the certificate request. Case and a trailing dot do not count.
	CommonName string `json:"common_name,omitempty"`
	// SANs, if given, replace the names of the certificate request. See ParseSAN for the forms.
	SANs []string `json:"sans,omitempty"`
	// SubjectDN asks the gateway for this subject instead of the one in the certificate request, or for none:
	// SubjectOmit.
	SubjectDN string `json:"subject_dn,omitempty"`
	// ProfileID is the gateway's enrollment profile. Empty: the worker's configured one.
	ProfileID string `json:"profile_id,omitempty"`
	// CAID is the gateway's certificate authority. Empty: the worker's configured one.
	CAID string `json:"ca_id,omitempty"`
	// ValiditySeconds is the demanded validity, in seconds, at most MaxValiditySeconds. 0: the profile's.
	ValiditySeconds int64 `json:"validity_seconds,omitempty"`
	// MaxValiditySeconds caps the validity, in seconds: a longer one is cut. 0: no cap.
	MaxValiditySeconds int64 `json:"max_validity_seconds,omitempty"`
	// ValidityPeriod is the demanded validity instead of ValiditySeconds, as a duration or an interval of ISO 8601. See
	// ParsePeriod.
	ValidityPeriod string `json:"validity_period,omitempty"`
	// Properties are values for the gateway by name: a string, an int64 or float64, a bool, or a []any of them.
	Properties map[string]any `json:"properties,omitempty"`
	// SubjectVariables are values for the subject that the gateway's profile builds.
	SubjectVariables []SubjectVariable `json:"subject_variables,omitempty"`
	// Extensions are asked for beside those of the profile. Names belong into SANs.
	Extensions []Extension `json:"extensions,omitempty"`
	// EKUs are extended key usages, as RFC 5280 names them (serverAuth) in any case, or object identifiers. A set.
	EKUs []string `json:"ekus,omitempty"`
	// MustStaple asks for the TLS feature status_request (RFC 7633).
	MustStaple bool `json:"must_staple,omitempty"`
	// PollMaxWaitSeconds is how long the order may wait for approval, in seconds, from 1 to MaxPollMaxWaitSeconds.
	// 0: the worker's configured time. A worker may allow less than asked for.
	PollMaxWaitSeconds int64 `json:"poll_max_wait_seconds,omitempty"`
	// Strict refuses the request for an unknown key that is near a known one, instead of a warning in the result.
	Strict bool `json:"strict,omitempty"`
	// Labels come back in the result; the worker does not read them. They do not count when two requests are compared.
	Labels map[string]string `json:"labels,omitempty"`

	parsed *parsedCSR
	notes
}

var issueForm = form{
	title: "Issue request",
	about: "Asks for a certificate. Published to <prefix>.request.<producer>.issue.",
	table: table{
		idField(func(r *Issue) any { return &r.ID }),
		{key: "csr_pem", at: at(func(r *Issue) any { return &r.CSRPEM }), shape: csrShape, digest: issueCSR,
			about: "PKCS#10 certificate request in PEM. Text around the block is ignored; base64 without the lines of PEM is read as well." + inBytes},
		{key: "csr_der", at: at(func(r *Issue) any { return &r.CSRDER }), shape: blob{MaxCSRBytes}, digest: uncounted,
			about: "The same as DER: base64 in JSON, bytes in MessagePack. At most 65536 bytes of DER. Workers also read line breaks inside, the URL alphabet, missing padding, and PEM."},
		{key: "common_name", at: at(func(r *Issue) any { return &r.CommonName }), shape: text{most: MaxNameBytes}, digest: uncounted,
			about: "Must be the common name of the certificate request. Case and a trailing dot do not count." + inBytes},
		{key: "sans", at: at(func(r *Issue) any { return &r.SANs }),
			shape:  list{most: MaxSANs, mostBytes: MaxSANBytes, rule: checkSANs, item: document(nil).must("pattern", "^[!-~]+$")},
			digest: issueSANs,
			about:  "Names instead of those in the certificate request: with dns: ip: email: or uri: in front, or bare and recognised by their form. A set: order does not matter. Case and a trailing dot of a host name do not count."},
		{key: "subject_dn", at: at(func(r *Issue) any { return &r.SubjectDN }), shape: text{most: MaxSubjectDNBytes, rule: checkDN, pattern: "=|^(omit)?$"},
			about: "Subject instead of the one in the certificate request; omit asks for no subject." + inBytes},
		{key: "profile_id", at: at(func(r *Issue) any { return &r.ProfileID }), shape: nameShape,
			about: "The gateway's enrollment profile. Absent: the worker's configured one." + inBytes},
		caField(func(r *Issue) any { return &r.CAID }),
		{key: "validity_seconds", at: at(func(r *Issue) any { return &r.ValiditySeconds }), shape: seconds{MaxValiditySeconds},
			about: "Demanded validity, in seconds. Absent: the profile's. An integer without fraction and exponent."},
		{key: "max_validity_seconds", at: at(func(r *Issue) any { return &r.MaxValiditySeconds }), shape: seconds{MaxValiditySeconds},
			about: "Longest validity, in seconds: a longer one is cut. Absent: no cap. An integer without fraction and exponent."},
		{key: "validity_period", at: at(func(r *Issue) any { return &r.ValidityPeriod }),
			shape: text{most: MaxPeriodBytes, rule: checkPeriod, pattern: "^(|P[0-9YMWDTHS]+|[0-9TZ:.+-]+/[0-9YMWDTHSPZ:.+-]+|P[0-9YMWDTHS]+/[0-9TZ:.+-]+)$"},
			about: "Demanded validity instead of validity_seconds: a duration of ISO 8601, or an interval of two instants, or of an instant and a duration in either order. An instant needs its zone, and may leave out its seconds." + inBytes},
		{key: "properties", at: at(func(r *Issue) any { return &r.Properties }), shape: properties{},
			about: "Values for the gateway by name: strings, numbers, booleans, or lists of them. Lengths count bytes of UTF-8."},
		{key: "subject_variables", at: at(func(r *Issue) any { return &r.SubjectVariables }), shape: subjectVariables{},
			about: "Values for the subject that the gateway's profile builds. Lengths count bytes of UTF-8."},
		{key: "extensions", at: at(func(r *Issue) any { return &r.Extensions }), shape: extensions{},
			about: "Certificate extensions to ask for beside those of the profile; value is DER: base64 in JSON, bytes in MessagePack. Names belong into sans."},
		{key: "ekus", at: at(func(r *Issue) any { return &r.EKUs }),
			shape:  list{most: MaxEKUs, mostBytes: MaxOIDBytes, rule: checkEKUs, item: document(nil).must("pattern", "^([0-2](\\.[0-9]+)+|[A-Za-z]+)$")},
			digest: issueEKUs,
			about:  "Extended key usages: serverAuth, clientAuth, codeSigning, emailProtection, timeStamping, OCSPSigning in any case, or object identifiers. A set."},
		{key: "must_staple", at: at(func(r *Issue) any { return &r.MustStaple }), shape: flag{},
			about: "Asks for the TLS feature status_request (RFC 7633)."},
		waitField(func(r *Issue) any { return &r.PollMaxWaitSeconds }),
		strictField(func(r *Issue) any { return &r.Strict }),
		labelsField(func(r *Issue) any { return &r.Labels }),
	},
	exactlyOne: []string{"csr_pem", "csr_der"},
}

func (r *Issue) form() *form { return &issueForm }

// Kind is KindIssue.
func (r *Issue) Kind() Kind { return KindIssue }

// OrderID is ID.
func (r *Issue) OrderID() string { return r.ID }

// LabelMap is Labels.
func (r *Issue) LabelMap() map[string]string { return r.Labels }

// CSR is the certificate request, or a *FieldError for csr_pem or csr_der. After Validate it costs nothing. Its signature
// was verified, unless Verifiable says that it cannot be. The caller must not change what it gets.
func (r *Issue) CSR() (*CSR, error) {
	p, err := r.parsed.of(r.CSRPEM, r.CSRDER)
	if err != nil {
		return nil, err
	}
	return p.CSR, nil
}

// CertificateRequest is the Request of CSR.
func (r *Issue) CertificateRequest() (*x509.CertificateRequest, error) {
	csr, err := r.CSR()
	if err != nil {
		return nil, err
	}
	return csr.Request, nil
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
	if err := issueForm.table.check(r); err != nil {
		return err
	}
	if r.MaxValiditySeconds > 0 && r.ValiditySeconds > r.MaxValiditySeconds {
		return &FieldError{
			Field: "max_validity_seconds", Problem: fmt.Sprintf("must be at least validity_seconds: %d !>= %d", r.MaxValiditySeconds, r.ValiditySeconds),
			Fix: "give one of them: validity_seconds demands, max_validity_seconds caps",
		}
	}
	if err := r.checkPeriod(); err != nil {
		return err
	}
	p, err := r.parsed.of(r.CSRPEM, r.CSRDER)
	if err != nil {
		return err
	}
	r.parsed = p
	if r.CommonName != "" && san.Host(r.CommonName) != san.Host(p.Request.Subject.CommonName) {
		return &FieldError{
			Field:   "common_name",
			Problem: "is not the common name of the certificate request",
			Fix:     "leave it out, or write it as the certificate request has it",
		}
	}
	subject := r.SubjectDN != "" && r.SubjectDN != SubjectOmit || len(r.SubjectVariables) > 0
	if len(r.SANs) == 0 && !subject && (p.namesNothing() || r.SubjectDN == SubjectOmit && len(p.names) == 0) {
		field := "csr_pem"
		if r.CSRPEM == "" {
			field = "csr_der"
		}
		return &FieldError{
			Field: field, Problem: "asks for no name: neither a common name nor a subject alternative name",
			Fix: "put a subjectAltName into the certificate request, or give sans",
		}
	}
	return nil
}

// checkPeriod compares the validity period, which can be read, with what stands beside it.
func (r *Issue) checkPeriod() error {
	if r.ValidityPeriod == "" {
		return nil
	}
	if r.ValiditySeconds > 0 {
		return &FieldError{Field: "validity_period", Problem: "is given beside validity_seconds", Fix: "give one of them"}
	}
	p, err := ParsePeriod(r.ValidityPeriod)
	if longest := int64(p.Longest() / time.Second); err == nil && r.MaxValiditySeconds > 0 && longest > r.MaxValiditySeconds {
		return &FieldError{
			Field: "max_validity_seconds", Problem: fmt.Sprintf("must be at least what validity_period can be: %d !>= %d", r.MaxValiditySeconds, longest),
			Fix: "give one of them: validity_period demands, max_validity_seconds caps",
		}
	}
	return err
}

func checkSANs(_ string, items []string) error {
	_, err := parseSANs(items)
	return err
}

func issueCSR(b []byte, message any) ([]byte, error) {
	r := message.(*Issue)
	p, err := r.parsed.of(r.CSRPEM, r.CSRDER)
	if err != nil {
		return nil, err
	}
	return appendPart(b, "csr", string(p.Request.Raw)), nil
}

func issueSANs(b []byte, message any) ([]byte, error) {
	names, err := parseSANs(message.(*Issue).SANs)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, func(a, b SAN) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
	})
	for _, name := range names {
		b = appendPart(b, string(name.Type), name.Value)
	}
	return b, nil
}

func issueEKUs(b []byte, message any) ([]byte, error) {
	r := message.(*Issue)
	all := make([]string, len(r.EKUs))
	for i, item := range r.EKUs {
		all[i], _ = normalEKU(strings.TrimSpace(item))
	}
	return list{}.content(b, "ekus", &all), nil
}
