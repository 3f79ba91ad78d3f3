package gateway

import (
	"cmp"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SubjectVariable is a value for a subject that the gateway's profile builds.
type SubjectVariable struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Extension is a requested certificate extension beside those of the profile.
type Extension struct {
	OID      string
	Critical bool
	Value    []byte // DER
}

const (
	oidEKU        = "2.5.29.37"
	oidTLSFeature = "1.3.6.1.5.5.7.1.24"
)

// MustStaple returns the extension for the TLS feature status_request (RFC 7633).
func MustStaple() Extension {
	return Extension{OID: oidTLSFeature, Value: []byte{0x30, 3, 2, 1, 5}}
}

// ekuOIDs are the extended key usages with a name in RFC 5280, 4.2.1.12, in lower case.
var ekuOIDs = map[string]string{
	"serverauth": "1.3.6.1.5.5.7.3.1", "clientauth": "1.3.6.1.5.5.7.3.2", "codesigning": "1.3.6.1.5.5.7.3.3",
	"emailprotection": "1.3.6.1.5.5.7.3.4", "timestamping": "1.3.6.1.5.5.7.3.8", "ocspsigning": "1.3.6.1.5.5.7.3.9",
}

// ExtendedKeyUsage returns the extension for the usages. A usage is a name of RFC 5280 in any
// letter case, or an object identifier. The error names the first usage that is neither.
func ExtendedKeyUsage(usages []string) (Extension, error) {
	var oids []asn1.RawValue
	for _, usage := range usages {
		text, ok := ekuOIDs[strings.ToLower(strings.TrimSpace(usage))]
		if !ok {
			text = strings.TrimSpace(usage)
		}
		der, err := oidDER(text)
		if err != nil {
			return Extension{}, fmt.Errorf("extended key usage %.64q: %w", usage, err)
		}
		oids = append(oids, asn1.RawValue{FullBytes: der})
	}
	value, err := asn1.Marshal(oids)
	return Extension{OID: oidEKU, Value: value}, err
}

func oidDER(text string) ([]byte, error) {
	var oid asn1.ObjectIdentifier
	for arc := range strings.SplitSeq(text, ".") {
		var n int
		if _, err := fmt.Sscanf(arc, "%d", &n); err != nil || n < 0 || fmt.Sprint(n) != arc {
			return nil, errors.New("not an object identifier")
		}
		oid = append(oid, n)
	}
	der, err := asn1.Marshal(oid)
	if err != nil {
		return nil, errors.New("not an object identifier")
	}
	return der, nil
}

// requestDetails are the optionalCertificateRequestDetails of the CA Gateway.
type requestDetails struct {
	// SubjectDN: nil leaves the member out; "" writes null.
	SubjectDN  *string
	Validity   string
	Extensions []Extension
}

// MarshalJSON writes the members that are set.
func (d requestDetails) MarshalJSON() ([]byte, error) {
	members := map[string]any{}
	if d.SubjectDN != nil {
		if members["subjectDn"] = *d.SubjectDN; *d.SubjectDN == "" {
			members["subjectDn"] = nil
		}
	}
	if d.Validity != "" {
		members["validityPeriod"] = d.Validity
	}
	var extensions []any
	for _, e := range d.Extensions {
		extensions = append(extensions, map[string]any{"oid": e.OID, "critical": e.Critical, "value": base64.StdEncoding.EncodeToString(e.Value)})
	}
	if extensions != nil {
		members["extensions"] = extensions
	}
	return json.Marshal(members)
}

func (d requestDetails) empty() bool {
	return d.SubjectDN == nil && d.Validity == "" && len(d.Extensions) == 0
}

// details returns what the enrollment asks for beside CSR and names. It depends on the
// profile whether the gateway takes the subject from the CSR. So the subject is sent, unless
// the request omits it, or the profile builds it from variables.
func (e *Enrollment) details() (requestDetails, error) {
	d := requestDetails{Validity: cmp.Or(e.Period, isoDuration(e.Validity)), Extensions: e.Extensions}
	dn := e.SubjectDN
	switch {
	case e.OmitSubject:
		d.SubjectDN = new(string)
		return d, nil
	case strings.HasPrefix(dn, "/"):
		dn = fromSlashes(dn)
	case dn == "" && len(e.SubjectVariables) == 0:
		var err error
		if dn, err = distinguishedName(e.CSR.RawSubject); err != nil {
			return d, err
		}
	}
	if dn != "" {
		d.SubjectDN = &dn
	}
	return d, nil
}

// fromSlashes converts a name in OpenSSL's form, /C=CA/O=Example/CN=a, to RFC 2253, last
// attribute first. A slash begins an attribute only if a type and an equals sign follow it.
func fromSlashes(dn string) string {
	var parts []string
	for part := range strings.SplitSeq(strings.TrimPrefix(dn, "/"), "/") {
		kind, _, ok := strings.Cut(part, "=")
		if kind = strings.TrimSpace(kind); (!ok || kind == "" || strings.ContainsFunc(kind, notOfType)) && len(parts) > 0 {
			parts[len(parts)-1] += "/" + part
			continue
		}
		parts = append(parts, part)
	}
	for i, part := range parts {
		if kind, value, ok := strings.Cut(part, "="); ok {
			parts[i] = strings.TrimSpace(kind) + "=" + escapeValue(strings.ReplaceAll(value, `\/`, "/"))
		}
	}
	slices.Reverse(parts)
	return strings.Join(parts, ",")
}

// notOfType reports whether r cannot be part of an attribute type.
func notOfType(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '.' && r != '-'
}

// beyondCertctl names the first part of the enrollment that the certctl dialect cannot
// express; "" if there is none.
func (e *Enrollment) beyondCertctl() string {
	switch {
	case len(e.Properties) > 0:
		return "properties"
	case len(e.SubjectVariables) > 0:
		return "subject_variables"
	case len(e.Extensions) > 0:
		return "extensions, ekus and must_staple"
	case e.Period != "":
		return "validity_period"
	}
	return ""
}
