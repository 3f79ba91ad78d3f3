package entrustbus

import (
	"bytes"
	"crypto"
	"crypto/dsa" //nolint:staticcheck // only to name a key that nobody should use
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// Bounds of RSA keys. A modulus of 64 KiB takes seconds to verify with; below 1024 bits Go refuses to verify at all.
const (
	maxRSABits  = 16384
	leastRSA    = 1024
	adviceOnRSA = "use a key of at least 2048 bits"
)

// CSR is a certificate request as a worker reads it. It does not change once made.
type CSR struct {
	// Request is the request itself. Its PublicKey is nil, and its PublicKeyAlgorithm unknown, for a key of a type that
	// the Go standard library does not know; RawSubjectPublicKeyInfo always holds the key.
	Request *x509.CertificateRequest

	names        []SAN
	unverifiable string
}

// KeyType names the key for people: "RSA 2048", "EC P-256", "EC brainpoolP256r1", "Ed448".
func (c *CSR) KeyType() string {
	var info publicKeyInfo
	if _, err := asn1.Unmarshal(c.Request.RawSubjectPublicKeyInfo, &info); err != nil {
		return "unknown"
	}
	return keyType(info)
}

// UnverifiableError says that the signature of a certificate request cannot be verified, since the Go standard library
// does not know its algorithm. It says nothing against the request: whether to pass it on is the worker's decision.
type UnverifiableError struct {
	// KeyType is that of the CSR.
	KeyType string
	// Problem is what is not known.
	Problem string
}

// Error names the key's type.
func (e *UnverifiableError) Error() string {
	return fmt.Sprintf("the signature by its key (%s) cannot be verified: %s", e.KeyType, e.Problem)
}

// Verifiable is nil for a certificate request whose signature was verified, else an *UnverifiableError. One whose
// signature is wrong has no CSR at all.
func (c *CSR) Verifiable() error {
	if c.unverifiable == "" {
		return nil
	}
	return &UnverifiableError{KeyType: c.KeyType(), Problem: c.unverifiable}
}

// parsedCSR is a certificate request beside the fields that it came from, so that a request which was changed or copied
// never answers with another one's. It does not change once made.
type parsedCSR struct {
	pem string
	der []byte
	*CSR
}

// of is p if it came from these fields, and parses them otherwise. p may be nil.
func (p *parsedCSR) of(text string, der []byte) (*parsedCSR, error) {
	if p != nil && p.pem == text && bytes.Equal(p.der, der) {
		return p, nil
	}
	der = bytes.Clone(der) // the parsed form keeps pointing into it
	data, field := der, "csr_der"
	switch {
	case text == "" && len(der) == 0:
		return nil, &FieldError{Field: "csr_pem", Problem: "is missing", Fix: "give exactly one of csr_pem and csr_der"}
	case text != "" && len(der) > 0:
		return nil, &FieldError{Field: "csr_der", Problem: "is given beside csr_pem", Fix: "give exactly one of them"}
	case text != "":
		data, field = []byte(text), "csr_pem"
	}
	raw, err := requestThing.one(field, data)
	if err != nil {
		return nil, err
	}
	csr, err := parseCSR(field, raw)
	if err != nil {
		return nil, err
	}
	return &parsedCSR{pem: text, der: der, CSR: csr}, nil
}

// parseCSR reads a certificate request. crypto/x509 refuses one whole for a host name that is not ASCII, and for a key of a
// curve that it does not know, so what it refuses is read once more to say which.
func parseCSR(field string, der []byte) (*CSR, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return parseUnknown(field, der)
	}
	c := &CSR{Request: csr}
	if c.names, err = csrNames(field, csr.Extensions); err != nil {
		return nil, err
	}
	if key, ok := c.Request.PublicKey.(*rsa.PublicKey); ok {
		switch bits := key.N.BitLen(); {
		case bits > maxRSABits:
			return nil, &FieldError{Field: field, Problem: fmt.Sprintf("has an RSA key of more than %d bits", maxRSABits), Fix: adviceOnRSA}
		case bits < leastRSA:
			return nil, &FieldError{Field: field, Problem: fmt.Sprintf("has an RSA key of %d bits, which is too short to be verified", bits), Fix: adviceOnRSA}
		}
	}
	if err := c.Request.CheckSignature(); err != nil {
		if problem := c.wrongSignature(err); problem != nil {
			problem.Field = field
			return nil, problem
		}
	}
	return c, nil
}

// parseUnknown reads a certificate request that crypto/x509 refuses.
func parseUnknown(field string, der []byte) (*CSR, error) {
	outer, err := readPKCS10(der)
	if err != nil {
		// Not the parser's own text: it may quote the certificate request.
		return nil, &FieldError{Field: field, Problem: whatIs(der)}
	}
	c := &CSR{Request: outer.request()}
	if c.names, err = csrNames(field, c.Request.Extensions); err != nil {
		return nil, err
	}
	if goKnows(outer.Info.PublicKey) {
		return nil, &FieldError{Field: field, Problem: "is a PKCS#10 certificate request that cannot be parsed (key type " + c.KeyType() + ")"}
	}
	c.unverifiable = unknownKey
	return c, nil
}

const unknownKey = "the key type is not known to this program"

// wrongSignature is the error of a signature that was not verified. It is nil for a signature that cannot be verified; then
// wrongSignature notes the reason.
func (c *CSR) wrongSignature(err error) *FieldError {
	var insecure x509.InsecureAlgorithmError
	_, old := c.Request.PublicKey.(*dsa.PublicKey)
	switch {
	case errors.As(err, &insecure):
		return &FieldError{
			Problem: "is signed with " + x509.SignatureAlgorithm(insecure).String() + ", which is broken", Fix: "sign it with SHA-256 or better",
		}
	case c.Request.PublicKey == nil || old:
		c.unverifiable = unknownKey
		return nil
	case c.Request.SignatureAlgorithm == x509.UnknownSignatureAlgorithm:
		c.unverifiable = "the signature algorithm, or its parameters, are not known to this program"
		return nil
	case errors.Is(err, x509.ErrUnsupportedAlgorithm):
		c.unverifiable = "a signature with " + c.Request.SignatureAlgorithm.String() + " by this key is not supported"
		return nil
	}
	return &FieldError{
		Problem: "has a signature that is not by its own key: it is forged, or was changed after it was signed",
		Fix:     "sign the certificate request with the key it is for",
	}
}

// csrNames reads the subject alternative names. A name with an impossible value is refused with its own error.
func csrNames(field string, extensions []pkix.Extension) ([]SAN, error) {
	names, err := san.Read(extensions)
	if err != nil {
		return nil, &FieldError{Field: field, Problem: "has a subjectAltName extension that cannot be parsed"}
	}
	if len(names) > MaxSANs {
		return nil, errTooMany(field)
	}
	for _, n := range names {
		if err := n.Check(); err != nil {
			f := sanError(field, err)
			f.Problem = fmt.Sprintf("has the %s %.80q, which %s", n.Type, n.Value, f.Problem)
			return nil, f
		}
	}
	return san.Unique(names), nil
}

// namesNothing reports whether a certificate request names no subject: no alternative name, and only attributes of place and
// organization in the subject.
func (c *CSR) namesNothing() bool {
	if len(c.names) > 0 {
		return false
	}
	for _, attribute := range c.Request.Subject.Names {
		switch attribute.Type.String() {
		case "2.5.4.6", "2.5.4.7", "2.5.4.8", "2.5.4.9", "2.5.4.10", "2.5.4.11", "2.5.4.17": // C, L, ST, STREET, O, OU, postalCode
		default:
			if text, ok := attribute.Value.(string); !ok || strings.TrimSpace(text) != "" {
				return false
			}
		}
	}
	return true
}

// whatIs says what DER is that is not a certificate request.
func whatIs(der []byte) string {
	if _, err := x509.ParseCertificate(der); err == nil {
		return "holds a certificate, not a certificate request"
	}
	for _, parse := range []func([]byte) (crypto.PrivateKey, error){
		func(b []byte) (crypto.PrivateKey, error) { return x509.ParsePKCS8PrivateKey(b) },
		func(b []byte) (crypto.PrivateKey, error) { return x509.ParsePKCS1PrivateKey(b) },
		func(b []byte) (crypto.PrivateKey, error) { return x509.ParseECPrivateKey(b) },
	} {
		if _, err := parse(der); err == nil {
			return "holds a private key, not a certificate request"
		}
	}
	return "is not a PKCS#10 certificate request that can be parsed"
}

// pkcs10 is RFC 2986's CertificationRequest, as far as it must be known to tell what crypto/x509 does not.
type pkcs10 struct {
	Raw  asn1.RawContent
	Info struct {
		Raw        asn1.RawContent
		Version    int
		Subject    asn1.RawValue
		PublicKey  publicKeyInfo
		Attributes []asn1.RawValue `asn1:"tag:0"`
	}
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

type publicKeyInfo struct {
	Raw       asn1.RawContent
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

func readPKCS10(der []byte) (*pkcs10, error) {
	var p pkcs10
	rest, err := asn1.Unmarshal(der, &p)
	if err == nil && len(rest) > 0 {
		err = errors.New("bytes behind the certificate request")
	}
	return &p, err
}

// extensions are those that are asked for. What cannot be read is left to crypto/x509, which refuses it.
func (p *pkcs10) extensions() []pkix.Extension {
	var all []pkix.Extension
	for _, raw := range p.Info.Attributes {
		var attribute struct {
			ID     asn1.ObjectIdentifier
			Values []asn1.RawValue `asn1:"set"`
		}
		if _, err := asn1.Unmarshal(raw.FullBytes, &attribute); err != nil || len(attribute.Values) == 0 ||
			!attribute.ID.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}) {
			continue
		}
		var some []pkix.Extension
		if _, err := asn1.Unmarshal(attribute.Values[0].FullBytes, &some); err == nil {
			all = append(all, some...)
		}
	}
	return all
}

// request is what crypto/x509 would have made if it knew the key.
func (p *pkcs10) request() *x509.CertificateRequest {
	r := &x509.CertificateRequest{
		Raw: p.Raw, RawTBSCertificateRequest: p.Info.Raw, RawSubject: p.Info.Subject.FullBytes,
		RawSubjectPublicKeyInfo: p.Info.PublicKey.Raw, Version: p.Info.Version,
		Signature: p.Signature.RightAlign(), Extensions: p.extensions(),
	}
	var subject pkix.RDNSequence
	if _, err := asn1.Unmarshal(r.RawSubject, &subject); err == nil {
		r.Subject.FillFromRDNSequence(&subject)
	}
	return r
}
