package entrustbus_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

// forge wraps a public key in a certificate request whose signature is nonsense.
func forge(t *testing.T, publicKeyInfo []byte) []byte {
	t.Helper()
	type info struct {
		Version    int
		Subject    asn1.RawValue
		PublicKey  asn1.RawValue
		Attributes []asn1.RawValue `asn1:"tag:0,set"`
	}
	der, err := asn1.Marshal(struct {
		Info      info
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		Info: info{
			Subject:   asn1.RawValue{FullBytes: []byte{0x30, 0}},
			PublicKey: asn1.RawValue{FullBytes: publicKeyInfo},
		},
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: []int{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue},
		Signature: asn1.BitString{Bytes: make([]byte, 8192), BitLength: 8 * 8192},
	})
	if err != nil {
		t.Fatal(err)
	}
	return der
}
