package entrustbus

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"strings"
)

const (
	oidRSA = "1.2.840.113549.1.1.1"
	oidEC  = "1.2.840.10045.2.1"
)

// keyNames are the key algorithms that people name.
var keyNames = map[string]string{
	"1.2.840.113549.1.1.10": "RSASSA-PSS", "1.2.840.10040.4.1": "DSA",
	"1.3.101.110": "X25519", "1.3.101.111": "X448", "1.3.101.112": "Ed25519", "1.3.101.113": "Ed448",
	"2.16.840.1.101.3.4.3.17": "ML-DSA-44", "2.16.840.1.101.3.4.3.18": "ML-DSA-65", "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}

// curveNames are the named curves; those of NIST are the ones that Go knows.
var curveNames = map[string]string{
	"1.3.132.0.33": "P-224", "1.2.840.10045.3.1.7": "P-256", "1.3.132.0.34": "P-384", "1.3.132.0.35": "P-521",
	"1.3.132.0.10": "secp256k1", "1.2.840.10045.3.1.1": "P-192", "1.2.156.10197.1.301": "SM2",
	"1.3.36.3.3.2.8.1.1.1": "brainpoolP160r1", "1.3.36.3.3.2.8.1.1.2": "brainpoolP160t1",
	"1.3.36.3.3.2.8.1.1.3": "brainpoolP192r1", "1.3.36.3.3.2.8.1.1.4": "brainpoolP192t1",
	"1.3.36.3.3.2.8.1.1.5": "brainpoolP224r1", "1.3.36.3.3.2.8.1.1.6": "brainpoolP224t1",
	"1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1", "1.3.36.3.3.2.8.1.1.8": "brainpoolP256t1",
	"1.3.36.3.3.2.8.1.1.9": "brainpoolP320r1", "1.3.36.3.3.2.8.1.1.10": "brainpoolP320t1",
	"1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1", "1.3.36.3.3.2.8.1.1.12": "brainpoolP384t1",
	"1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1", "1.3.36.3.3.2.8.1.1.14": "brainpoolP512t1",
}

// keyType names a key for people.
func keyType(info publicKeyInfo) string {
	switch oid := info.Algorithm.Algorithm.String(); oid {
	case oidRSA:
		if key, err := x509.ParsePKCS1PublicKey(info.Key.RightAlign()); err == nil {
			return fmt.Sprintf("RSA %d", key.N.BitLen())
		}
		return "RSA"
	case oidEC:
		return "EC " + curve(info)
	default:
		if name, ok := keyNames[oid]; ok {
			return name
		}
		return "algorithm " + oid
	}
}

func curve(info publicKeyInfo) string {
	var id asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &id); err != nil {
		return "with a curve of its own parameters"
	}
	if name, ok := curveNames[id.String()]; ok {
		return name
	}
	return "curve " + id.String()
}

// goKnows reports whether crypto/x509 reads keys of this type, so that one which it does not read is broken.
func goKnows(info publicKeyInfo) bool {
	switch info.Algorithm.Algorithm.String() {
	case oidRSA, "1.2.840.10040.4.1", "1.3.101.110", "1.3.101.112":
		return true
	case oidEC:
		return strings.HasPrefix(curve(info), "P-") && curve(info) != "P-192"
	}
	return true // x509 leaves a key of an unknown algorithm unread, and refuses the request for another reason
}
