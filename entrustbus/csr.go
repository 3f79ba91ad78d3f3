package entrustbus

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// maxRSABits bounds what verifying a signature can cost: the modulus of a key of 64 KiB takes seconds.
const maxRSABits = 16384

// parsedCSR is a certificate request beside the fields that it came from, so that a request which was changed or copied
// never answers with another one's. It does not change once made.
type parsedCSR struct {
	pem   string
	der   []byte
	csr   *x509.CertificateRequest
	names []SAN
}

// of is p if it came from these fields, and parses them otherwise. p may be nil.
func (p *parsedCSR) of(text string, der []byte) (*parsedCSR, error) {
	if p != nil && p.pem == text && bytes.Equal(p.der, der) {
		return p, nil
	}
	if len(der) > MaxCSRBytes {
		return nil, errTooLong("csr_der", MaxCSRBytes)
	}
	der = bytes.Clone(der) // the parsed form keeps pointing into it
	raw, field := der, "csr_der"
	switch {
	case text == "" && len(der) == 0:
		return nil, &FieldError{Field: "csr_pem", Problem: "is missing", Fix: "give exactly one of csr_pem and csr_der"}
	case text != "" && len(der) > 0:
		return nil, &FieldError{Field: "csr_der", Problem: "is given beside csr_pem", Fix: "give exactly one of them"}
	case text != "":
		field = "csr_pem"
		var err error
		if raw, err = onePEM(field, text, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"); err != nil {
			return nil, err
		}
	}
	csr, err := verifiedCSR(field, raw)
	if err != nil {
		return nil, err
	}
	names, err := csrNames(field, csr.Extensions)
	if err != nil {
		return nil, err
	}
	return &parsedCSR{pem: text, der: der, csr: csr, names: names}, nil
}

func verifiedCSR(field string, der []byte) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		// Not the parser's own text, here and below: it may quote the certificate request.
		return nil, &FieldError{Field: field, Problem: "is no PKCS#10 certificate request that can be parsed"}
	}
	if key, ok := csr.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSABits {
		return nil, &FieldError{Field: field, Problem: "has an RSA key of more than 16384 bits"}
	}
	if err := csr.CheckSignature(); err != nil {
		problem := "has a signature that is not by its own key"
		_, insecure := errors.AsType[x509.InsecureAlgorithmError](err)
		if insecure || errors.Is(err, x509.ErrUnsupportedAlgorithm) {
			problem = "is signed with an algorithm that is not supported"
		}
		return nil, &FieldError{Field: field, Problem: problem, Fix: "sign the certificate request with the key it is for"}
	}
	return csr, nil
}

// onePEM is the content of a text that is one PEM block of one of the types and nothing else but blanks.
func onePEM(field, text string, types ...string) ([]byte, error) {
	if len(text) > MaxCSRBytes {
		return nil, errTooLong(field, MaxCSRBytes)
	}
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "-----BEGIN ") {
		return nil, &FieldError{Field: field, Problem: "does not begin with a PEM block", Fix: "give the block and nothing else"}
	}
	if strings.Count(text, "-----BEGIN ") > 1 {
		return nil, &FieldError{Field: field, Problem: "has more than one PEM block", Fix: "give one"}
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, &FieldError{Field: field, Problem: "is no well-formed PEM block"}
	case len(rest) > 0:
		return nil, &FieldError{Field: field, Problem: "has something behind its PEM block", Fix: "give the block and nothing else"}
	case len(block.Headers) > 0:
		return nil, &FieldError{Field: field, Problem: "has headers in its PEM block", Fix: "RFC 7468 allows none"}
	}
	for _, t := range types {
		if block.Type == t {
			return block.Bytes, nil
		}
	}
	return nil, &FieldError{Field: field, Problem: "is a PEM block of another type", Fix: "it must begin with -----BEGIN " + types[0] + "-----"}
}

// csrNames reads the subject alternative names. What has an impossible value is refused by its own words.
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
