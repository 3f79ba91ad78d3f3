package gateway

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"net/netip"
	"strings"

	"crypto/x509/pkix"
)

// The types of names that have a text form, as the CA Gateway calls them.
const (
	SANDNS   = "dNSName"
	SANIP    = "iPAddress"
	SANEmail = "rfc822Name"
	SANURI   = "uniformResourceIdentifier"
	// SANOther is any other GeneralName, kept as DER.
	SANOther = "other"
)

// SAN is one subject alternative name.
type SAN struct {
	// Type is SANDNS, SANIP, SANEmail, SANURI or SANOther.
	Type string
	// Value is the name's text; empty for SANOther.
	Value string
	// DER is the whole GeneralName of SANOther; empty for the rest.
	DER []byte
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// names returns the names in the subjectAltName extension, in its order; none
// without one.
func names(extensions []pkix.Extension) ([]SAN, error) {
	for _, ext := range extensions {
		if ext.Id.Equal(oidSubjectAltName) {
			return parseNames(ext.Value)
		}
	}
	return nil, nil
}

func parseNames(der []byte) ([]SAN, error) {
	var seq asn1.RawValue
	rest, err := asn1.Unmarshal(der, &seq)
	if err != nil || len(rest) > 0 || !seq.IsCompound || seq.Tag != asn1.TagSequence || seq.Class != asn1.ClassUniversal {
		return nil, errors.New("subject alternative names cannot be parsed")
	}
	var sans []SAN
	for rest = seq.Bytes; len(rest) > 0; {
		var name asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return nil, errors.New("subject alternative names cannot be parsed")
		}
		sans = append(sans, sanOf(name))
	}
	return sans, nil
}

// sanOf reads one GeneralName (RFC 5280, 4.2.1.6).
func sanOf(name asn1.RawValue) SAN {
	if name.Class == asn1.ClassContextSpecific {
		switch name.Tag {
		case 1:
			return SAN{Type: SANEmail, Value: string(name.Bytes)}
		case 2:
			return SAN{Type: SANDNS, Value: string(name.Bytes)}
		case 6:
			return SAN{Type: SANURI, Value: string(name.Bytes)}
		case 7:
			if ip, ok := netip.AddrFromSlice(name.Bytes); ok {
				return SAN{Type: SANIP, Value: ip.String()}
			}
		}
	}
	return SAN{Type: SANOther, DER: bytes.Clone(name.FullBytes)}
}

// problem says what is wrong with a name that is to be requested; "" for nothing.
func (s SAN) problem() string {
	switch s.Type {
	case SANDNS, SANEmail, SANURI:
		if s.Value == "" {
			return "must not be empty"
		}
	case SANIP:
		if _, err := netip.ParseAddr(s.Value); err != nil {
			return "is not an IP address"
		}
	case SANOther:
		var name asn1.RawValue
		if rest, err := asn1.Unmarshal(s.DER, &name); err != nil || len(rest) > 0 {
			return "is not the DER of one name"
		}
	default:
		return "has an unknown type; one of dNSName, iPAddress, rfc822Name, uniformResourceIdentifier, other"
	}
	return ""
}

// uncovered returns the first of the wanted names that the certificate's names do not
// cover.
func uncovered(want, have []SAN) (SAN, bool) {
	for _, w := range want {
		found := false
		for _, h := range have {
			found = found || w.coveredBy(h)
		}
		if !found {
			return w, true
		}
	}
	return SAN{}, false
}

// coveredBy reports whether a certificate for h serves for s: the same name, or for a
// host name a wildcard in the place of its first label (RFC 6125, 6.4.3).
func (s SAN) coveredBy(h SAN) bool {
	if s.Type != h.Type {
		return false
	}
	switch s.Type {
	case SANDNS:
		want, have := hostKey(s.Value), hostKey(h.Value)
		if want == have {
			return true
		}
		_, parent, ok := strings.Cut(want, ".")
		return ok && !strings.HasPrefix(want, "*.") && have == "*."+parent
	case SANIP:
		a, errA := netip.ParseAddr(s.Value)
		b, errB := netip.ParseAddr(h.Value)
		return errA == nil && errB == nil && a.Unmap() == b.Unmap()
	case SANEmail:
		// The host part of a mailbox has no case, its local part may (RFC 5280, 7.5).
		i, j := strings.LastIndexByte(s.Value, '@'), strings.LastIndexByte(h.Value, '@')
		return s.Value == h.Value ||
			i >= 0 && j >= 0 && s.Value[:i] == h.Value[:j] && hostKey(s.Value[i:]) == hostKey(h.Value[j:])
	case SANOther:
		return bytes.Equal(s.DER, h.DER)
	}
	return s.Value == h.Value
}

func hostKey(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
