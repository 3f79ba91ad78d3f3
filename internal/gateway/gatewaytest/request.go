package gatewaytest

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"time"
)

// refusal is the reason why the gateway does not serve a request, as in its error body.
type refusal struct {
	status  int
	code    string
	message string
	target  string
}

func (r *refusal) Error() string { return r.message }

// refuse returns a refusal because of the request body.
func refuse(target, message string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "cagw-4000", target: target, message: message}
}

// enrollBody is the body of POST …/enrollments in both dialects. The simulator ignores
// further members, as the gateway ignores some.
type enrollBody struct {
	CSR            string `json:"csr"`
	ProfileID      string `json:"profileId"`
	RequiredFormat *struct {
		Format     string `json:"format"`
		Protection *struct {
			Type     string `json:"type"`
			Password string `json:"password"`
		} `json:"protection"`
	} `json:"requiredFormat"`
	SubjectVariables []subjectVariable `json:"subjectVariables"`
	SubjectAltNames  []altName         `json:"subjectAltNames"`
	Details          struct {
		SubjectDN      string          `json:"subjectDn"`
		ValidityPeriod string          `json:"validityPeriod"`
		UseSANFromCSR  bool            `json:"useSANFromCSR"`
		Extensions     []extensionBody `json:"extensions"`
	} `json:"optionalCertificateRequestDetails"`
	IncludeCA  bool           `json:"includeCa"`
	Properties map[string]any `json:"properties"`
}

type subjectVariable struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// enrollment is a parsed enrollment request.
type enrollment struct {
	spec     spec
	key      keyID
	subject  string // identifies the order for draws and rules: the common name, or the key
	shape    shape
	chain    bool
	password string            // of a PKCS#12 answer
	private  *ecdsa.PrivateKey // of a PKCS#12 answer
}

// parseEnrollment reads and checks an enrollment request of the flat or the nested dialect.
func (s *Server) parseEnrollment(data []byte, flat bool, now time.Time) (*enrollment, *refusal) {
	var body enrollBody
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, refuse("body", "The request body is not the JSON of an enrollment")
	}
	e := &enrollment{chain: body.IncludeCA}
	if body.ProfileID == "" && !flat {
		return nil, refuse("profileId", "A profile id is required")
	}
	if body.ProfileID != "" && !slices.Contains(s.cfg.Profiles, body.ProfileID) {
		return nil, &refusal{http.StatusBadRequest, "cagw-4021", "Profile not found", "profileId"}
	}
	needs := s.requirements(cmp.Or(body.ProfileID, s.cfg.Profiles[0]))
	if r := needs.unmet(&body); r != nil && !flat {
		return nil, r
	}
	var err error
	if e.spec.extensions, err = encodeExtensions(body.Details.Extensions, needs.CA); err != nil {
		return nil, refuse("optionalCertificateRequestDetails.extensions", "An extension is wrong: "+err.Error())
	}
	if r := e.setShape(&body, flat); r != nil {
		return nil, r
	}
	if e.shape == shapePKCS12 && body.CSR == "" {
		key, err := newKey()
		if err != nil {
			return nil, &refusal{http.StatusInternalServerError, "cagw-5000", "Key generation error", ""}
		}
		e.private = key
		e.spec.spki, err = x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, &refusal{http.StatusInternalServerError, "cagw-5000", "Key encoding error", ""}
		}
		e.spec.subject = []byte{0x30, 0}
		if r := e.setNames(&body, nil, flat); r != nil {
			return nil, r
		}
	} else {
		csr, r := s.parseCSR(body.CSR, flat)
		if r != nil {
			return nil, r
		}
		e.spec.spki, e.spec.subject = csr.RawSubjectPublicKeyInfo, csr.RawSubject
		if r := e.setNames(&body, csr, flat); r != nil {
			return nil, r
		}
	}
	e.key = keyIDOf(e.spec.spki)
	e.subject = commonName(e.spec.subject)
	if e.subject == "" {
		e.subject = string(e.key[:])
	}
	return e, e.setValidity(body.Details.ValidityPeriod, s.cfg, now)
}

// setShape reads the format of the answer.
func (e *enrollment) setShape(body *enrollBody, flat bool) *refusal {
	if flat {
		e.shape = shapeCertCtl
		return nil
	}
	if body.RequiredFormat == nil {
		return refuse("requiredFormat", "A required format is missing")
	}
	switch body.RequiredFormat.Format {
	case "X509":
		e.shape = shapeX509
	case "PEM":
		e.shape = shapePEM
	case "PKCS12":
		e.shape = shapePKCS12
		p := body.RequiredFormat.Protection
		if p == nil || p.Type != "PasswordProtection" || p.Password == "" {
			return refuse("requiredFormat.protection", "PKCS12 needs a PasswordProtection with a password")
		}
		e.password = p.Password
		if body.CSR != "" {
			return refuse("csr", "PKCS12 is for keys that the gateway generates")
		}
	default:
		return refuse("requiredFormat.format", "The format must be X509, PEM or PKCS12")
	}
	return nil
}

// parseCSR reads the PKCS#10 request in the form of the dialect: PEM in the flat dialect,
// base64 without armour and line breaks in the nested dialect.
func (s *Server) parseCSR(text string, flat bool) (*x509.CertificateRequest, *refusal) {
	var der []byte
	if flat {
		block, rest := pem.Decode([]byte(text))
		if block == nil || !strings.HasSuffix(block.Type, "CERTIFICATE REQUEST") || len(bytes.TrimSpace(rest)) > 0 {
			return nil, refuse("csr", "The CSR is not one PEM certificate request")
		}
		der = block.Bytes
	} else {
		if strings.ContainsAny(text, "\r\n-") {
			return nil, refuse("csr", "The CSR must be base64 without header lines and line ends")
		}
		var err error
		if der, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, refuse("csr", "The CSR is not base64")
		}
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil && s.cfg.SkipProof {
		csr, err = parseUnknownKey(der)
	}
	if err != nil {
		return nil, refuse("csr", "The CSR is not a PKCS#10 request")
	}
	switch key := csr.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return nil, refuse("csr", "RSA keys must have 2048 bits or more")
		}
	case nil:
		if !s.cfg.SkipProof {
			return nil, refuse("csr", "The CSR's key is of an unsupported kind")
		}
	}
	if !s.cfg.SkipProof && csr.CheckSignature() != nil {
		return nil, refuse("csr", "The CSR's signature does not verify")
	}
	return csr, nil
}

// parseUnknownKey reads subject and key of a PKCS#10 request whose key Go refuses, for a CA
// that supports more keys than Go.
func parseUnknownKey(der []byte) (*x509.CertificateRequest, error) {
	var csr struct {
		Info struct {
			Version      int
			Subject, Key asn1.RawValue
		}
	}
	if _, err := asn1.Unmarshal(der, &csr); err != nil {
		return nil, err
	}
	return &x509.CertificateRequest{RawSubject: csr.Info.Subject.FullBytes, RawSubjectPublicKeyInfo: csr.Info.Key.FullBytes}, nil
}

// setNames sets subject and alternative names. csr is nil if the gateway makes the key.
func (e *enrollment) setNames(body *enrollBody, csr *x509.CertificateRequest, flat bool) *refusal {
	if dn := body.Details.SubjectDN; dn != "" {
		der, err := parseDN(dn)
		if err != nil {
			return refuse("optionalCertificateRequestDetails.subjectDn", "The subject DN is wrong: "+err.Error())
		}
		e.spec.subject = der
	} else if len(body.SubjectVariables) > 0 {
		var seq pkix.RDNSequence
		for _, v := range body.SubjectVariables {
			attr, err := attribute(v.Type, v.Value)
			if err != nil {
				return refuse("subjectVariables", "A subject variable is wrong: "+err.Error())
			}
			seq = append(seq, pkix.RelativeDistinguishedNameSET{attr})
		}
		slices.Reverse(seq)
		der, err := marshalName(seq)
		if err != nil {
			return refuse("subjectVariables", "A subject variable cannot be encoded")
		}
		e.spec.subject = der
	}
	if len(body.SubjectAltNames) > 0 {
		names := body.SubjectAltNames
		if flat {
			names = slices.Clone(names)
			for i := range names {
				names[i] = names[i].retyped()
			}
		}
		value, err := encodeAltNames(names)
		if err != nil {
			return refuse("subjectAltNames", "A subject alternative name is wrong: "+err.Error())
		}
		e.spec.altNames = value
		return nil
	}
	// Names of the CSR count in the flat dialect. In the nested dialect they count only on
	// request: the hosted gateway takes only the key from a CSR.
	if csr != nil && (flat || body.Details.UseSANFromCSR) {
		for _, ext := range csr.Extensions {
			if ext.Id.Equal(oidAltNames()) {
				e.spec.altNames = ext.Value
			}
		}
	}
	return nil
}

// setValidity reads the requested validity.
func (e *enrollment) setValidity(asked string, cfg Config, now time.Time) *refusal {
	e.spec.validity = cfg.DefaultValidity
	if asked == "" {
		return nil
	}
	const target = "optionalCertificateRequestDetails.validityPeriod"
	p, err := parsePeriod(asked, now)
	if err != nil {
		return refuse(target, "The validity period is wrong: "+err.Error())
	}
	if p.length < time.Second || p.length > cfg.MaxValidity {
		return refuse(target, "The validity period is longer than the profile allows, or shorter than a second")
	}
	e.spec.start, e.spec.validity = p.start.Truncate(time.Second), p.length
	return nil
}
