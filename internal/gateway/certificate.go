package gateway

import (
	"bytes"
	"crypto/x509"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// parseCertificate is x509.ParseCertificate for any public key. It also ignores what OpenSSL
// appends to a TRUSTED CERTIFICATE. Go refuses certificates with an elliptic curve that it
// does not know, such as brainpool and secp256k1. Here their PublicKey is nil, as it is for
// every other key that Go does not know.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	input := cryptobyte.String(der)
	var one cryptobyte.String
	if !input.ReadASN1Element(&one, asn1.SEQUENCE) {
		return nil, errors.New("not a certificate")
	}
	cert, err := x509.ParseCertificate(one)
	if err == nil {
		return cert, nil
	}
	masked, spki, ok := maskCurve(one)
	if !ok {
		return nil, err
	}
	if cert, err = x509.ParseCertificate(masked); err != nil {
		return nil, err
	}
	tbs := bytes.Index(masked, cert.RawTBSCertificate)
	cert.Raw, cert.RawSubjectPublicKeyInfo = one, spki
	cert.RawTBSCertificate = one[tbs : tbs+len(cert.RawTBSCertificate)]
	return cert, nil
}

// idECPublicKey is the DER of the key algorithm of elliptic curves (RFC 5480).
var idECPublicKey = []byte{0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}

// maskCurve returns a copy of a certificate with an elliptic-curve key, and the unchanged
// key. In the copy the key algorithm is replaced by an unknown one of the same length, so
// that Go reads the rest of the certificate.
func maskCurve(der []byte) (masked, spki []byte, ok bool) {
	input := cryptobyte.String(der)
	var cert, tbs, key, algorithm cryptobyte.String
	if !input.ReadASN1(&cert, asn1.SEQUENCE) || !cert.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) || !tbs.SkipASN1(asn1.INTEGER) {
		return nil, nil, false
	}
	for range 4 { // signature, issuer, validity, subject
		if !tbs.SkipASN1(asn1.SEQUENCE) {
			return nil, nil, false
		}
	}
	at := len(der) - len(tbs) - len(cert) // everything after the subject is in these two
	if !tbs.ReadASN1Element(&key, asn1.SEQUENCE) {
		return nil, nil, false
	}
	spki = key
	if !key.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1(&algorithm, asn1.SEQUENCE) || !bytes.HasPrefix(algorithm, idECPublicKey) {
		return nil, nil, false
	}
	masked = bytes.Clone(der)
	at += bytes.Index(spki, idECPublicKey) + len(idECPublicKey) - 1
	masked[at] = 0x7f
	return masked, spki, true
}

// pkcs7Certificates returns the certificates of a PKCS#7 SignedData (RFC 2315), each as
// its DER. ok reports whether der is a SignedData.
func pkcs7Certificates(der []byte) (certificates [][]byte, ok bool) {
	input := cryptobyte.String(der)
	var content, explicit, signed, inside cryptobyte.String
	context0 := asn1.Tag(0).Constructed().ContextSpecific()
	var has bool
	if !input.ReadASN1(&content, asn1.SEQUENCE) || !content.SkipASN1(asn1.OBJECT_IDENTIFIER) ||
		!content.ReadASN1(&explicit, context0) || !explicit.ReadASN1(&signed, asn1.SEQUENCE) ||
		!signed.SkipASN1(asn1.INTEGER) || !signed.SkipASN1(asn1.SET) || !signed.SkipASN1(asn1.SEQUENCE) ||
		!signed.ReadOptionalASN1(&inside, &has, context0) {
		return nil, false
	}
	for !inside.Empty() && len(certificates) < maxMembers {
		var one cryptobyte.String
		var tag asn1.Tag
		if !inside.ReadAnyASN1Element(&one, &tag) {
			return nil, false
		}
		certificates = append(certificates, one)
	}
	return certificates, true
}
