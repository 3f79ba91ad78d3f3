package san

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net/netip"
	"slices"
)

// Extension is the id of the subjectAltName extension, of certificates and of certificate requests alike (RFC 5280
// 4.2.1.6).
func Extension() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// Read returns the names in the subjectAltName extension, in its order; none without one. It keeps names of every type:
// crypto/x509 drops the types that it does not know, and refuses a whole certificate request for one host name that is
// not ASCII. The error says that the extension is not what RFC 5280 describes. What is wrong with a single name is for
// Check: a certificate that holds it is still a certificate.
func Read(extensions []pkix.Extension) ([]Name, error) {
	i := slices.IndexFunc(extensions, func(e pkix.Extension) bool { return e.Id.Equal(Extension()) })
	if i < 0 {
		return nil, nil
	}
	return ReadValue(extensions[i].Value)
}

var errMalformed = errors.New("subject alternative names cannot be parsed")

// ReadValue is Read for the value of the extension itself.
func ReadValue(der []byte) ([]Name, error) {
	var all asn1.RawValue
	rest, err := asn1.Unmarshal(der, &all)
	if err != nil || len(rest) > 0 || !all.IsCompound || all.Tag != asn1.TagSequence || all.Class != asn1.ClassUniversal {
		return nil, errMalformed
	}
	var names []Name
	for rest = all.Bytes; len(rest) > 0; {
		var name asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return nil, errMalformed
		}
		names = append(names, generalName(name))
	}
	return names, nil
}

// generalName reads one GeneralName.
func generalName(v asn1.RawValue) Name {
	if v.Class == asn1.ClassContextSpecific {
		switch v.Tag {
		case 1:
			return Name{Type: Email, Value: mailbox(string(v.Bytes))}
		case 2:
			return Name{Type: DNS, Value: Host(string(v.Bytes))}
		case 6:
			return Name{Type: URI, Value: string(v.Bytes)}
		case 7:
			if ip, ok := netip.AddrFromSlice(v.Bytes); ok {
				return Name{Type: IP, Value: ip.Unmap().String()}
			}
			return Name{Type: IP}
		}
	}
	return Name{Type: Other, DER: bytes.Clone(v.FullBytes)}
}
