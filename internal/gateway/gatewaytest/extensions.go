package gatewaytest

import (
	"encoding/asn1"
	"encoding/base64"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// extensionBody is an extension in an enrollment request.
type extensionBody struct {
	OID      string `json:"oid"`
	Critical bool   `json:"critical"`
	Value    string `json:"value"` // base64 DER
}

// encodeExtensions returns the DER of the extensions, one after the other. For a CA's
// certificate, its extensions come first.
func encodeExtensions(asked []extensionBody, ca bool) ([]byte, error) {
	var b cryptobyte.Builder
	if ca {
		addExtension(&b, asn1.ObjectIdentifier{2, 5, 29, 15}, true, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0x06}) }) // keyCertSign, cRLSign
		})
		addExtension(&b, asn1.ObjectIdentifier{2, 5, 29, 19}, true, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1Boolean(true) })
		})
	}
	for _, e := range asked {
		oid, err := parseOID(e.OID)
		if err != nil {
			return nil, err
		}
		value, err := base64.StdEncoding.DecodeString(e.Value)
		var whole asn1.RawValue
		if rest, bad := asn1.Unmarshal(value, &whole); err != nil || bad != nil || len(rest) > 0 {
			return nil, errors.New("the value of " + e.OID + " is not base64 of DER")
		}
		addExtension(&b, oid, e.Critical, func(b *cryptobyte.Builder) { b.AddBytes(value) })
	}
	return b.Bytes()
}

// extensionIDs are the object identifiers of the extensions, by their text.
func extensionIDs(der []byte) map[string]bool {
	ids := map[string]bool{}
	for rest := cryptobyte.String(der); !rest.Empty(); {
		var one cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !rest.ReadASN1(&one, cryptobyteasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&oid) {
			break
		}
		ids[oid.String()] = true
	}
	return ids
}
