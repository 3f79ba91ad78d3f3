package gateway

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"unicode"
)

// dialect is how one kind of gateway words the same things. What it returns as an
// error is one short sentence that quotes nothing of a body.
type dialect interface {
	// name is the dialect's name.
	name() Dialect
	// enrollment writes the body of an enrollment. CSR, ProfileID and SANs of e are
	// filled in and checked.
	enrollment(e Enrollment) ([]byte, error)
	// order reads a 2xx answer to an enrollment or a poll.
	order(body []byte) (order, error)
	// serials are the forms of the serial for the revocation's URL, best first.
	serials(n *big.Int, width int) []string
	// revocation writes a revocation: the method, the last path segment and the body.
	// The reason is one of reasons.
	revocation(r Revocation) (method, verb string, body []byte)
	// action reads a 2xx answer to a revocation and returns its status word, if any.
	action(body []byte) (word string, err error)
}

// order is what a 2xx answer to an enrollment or poll holds.
type order struct {
	trackingID string
	status     string
	serial     string // as the gateway wrote it
	// certs are the certificates of the answer, the issued one first unless the
	// gateway bundled them otherwise; nil while there is none.
	certs []*x509.Certificate
	// chainProblem says that a chain was sent and cannot be read.
	chainProblem string
}

// meaning returns what the order means to op.
func (o order) meaning(op Op, words StatusWords) meaning {
	switch {
	case hasWord(words.Rejected, o.status):
		return meansRejected
	case len(o.certs) > 0:
		return meansIssued
	case hasWord(words.Issued, o.status):
		return meansHollow
	// A poll knows what it asked for.
	case op == OpEnroll && o.trackingID == "":
		return meansUntracked
	}
	return meansWaiting
}

// parseObject decodes the JSON object of an answer.
func parseObject(body []byte, into any) error {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return errors.New("the answer is empty")
	}
	if body[0] != '{' || json.Unmarshal(body, into) != nil {
		return errors.New("the answer is not the JSON object that was expected")
	}
	return nil
}

// parseCertificates reads certificates from PEM text or from the base64 of one
// certificate's DER: each dialect promises one of them, and gateways were seen to
// send the other. An empty text holds none.
func parseCertificates(s string) ([]*x509.Certificate, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	if !strings.Contains(s, "-----BEGIN") {
		der, err := parseBase64(s)
		if err != nil {
			return nil, errors.New("the certificate is neither PEM nor base64")
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.New("the certificate cannot be parsed")
		}
		return []*x509.Certificate{cert}, nil
	}
	var certs []*x509.Certificate
	for rest := []byte(s); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(certs) == 0 || bytes.Contains(rest, []byte("-----BEGIN")) {
				return nil, errors.New("the certificate's PEM is damaged")
			}
			return certs, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("the certificate's PEM holds something else")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("the certificate cannot be parsed")
		}
		certs = append(certs, cert)
	}
}

// parseBase64 decodes base64 with or without line breaks and padding.
func parseBase64(s string) ([]byte, error) {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
}
