package gateway

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// attributeNames are the attribute types that are written by name: those of RFC 2253, and those
// that directory libraries of Java, the gateway's language, read by name. Others are written
// as OID and hex.
var attributeNames = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.5":                    "SERIALNUMBER",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "STREET",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.17":                   "POSTALCODE",
	"2.5.4.4":                    "SURNAME",
	"2.5.4.12":                   "T",
	"2.5.4.42":                   "GIVENNAME",
	"2.5.4.43":                   "INITIALS",
	"2.5.4.46":                   "DNQUALIFIER",
	"1.2.840.113549.1.9.1":       "EMAILADDRESS",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.25": "DC",
}

// distinguishedName writes a DER name as RFC 2253 text, last attribute first. It keeps the
// order of the DER, which pkix.Name would lose. An empty name is "".
func distinguishedName(der []byte) (string, error) {
	var rdns []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &rdns); err != nil || len(rest) > 0 {
		return "", errors.New("subject cannot be parsed")
	}
	parts := make([]string, 0, len(rdns))
	for i := len(rdns) - 1; i >= 0; i-- {
		part, err := relativeName(rdns[i])
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ","), nil
}

func relativeName(set asn1.RawValue) (string, error) {
	var parts []string
	for rest := set.Bytes; len(rest) > 0; {
		var attr struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		var err error
		if rest, err = asn1.Unmarshal(rest, &attr); err != nil {
			return "", errors.New("subject cannot be parsed")
		}
		parts = append(parts, attribute(attr.Type, attr.Value))
	}
	return strings.Join(parts, "+"), nil
}

func attribute(oid asn1.ObjectIdentifier, value asn1.RawValue) string {
	if name, ok := attributeNames[oid.String()]; ok {
		var s string
		if _, err := asn1.Unmarshal(value.FullBytes, &s); err == nil {
			return name + "=" + escapeValue(s)
		}
	}
	return oid.String() + "=#" + hex.EncodeToString(value.FullBytes)
}

// escapeValue escapes an attribute value (RFC 2253, 2.4).
func escapeValue(s string) string {
	var b strings.Builder
	last := len(s) - 1
	for i := range len(s) {
		switch c := s[i]; {
		case c == 0 || c == '\r' || c == '\n':
			fmt.Fprintf(&b, `\%02X`, c)
			continue
		case strings.IndexByte(`,+"\<>;=`, c) >= 0, c == ' ' && (i == 0 || i == last), c == '#' && i == 0:
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
