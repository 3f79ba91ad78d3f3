package gateway

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
)

// dialect is how one kind of gateway words the same things. What it returns as an
// error is one short sentence that quotes nothing of a body.
type dialect interface {
	// name is the dialect's name.
	name() Dialect
	// enrollment writes the body of an enrollment. CSR, ProfileID and SANs of e are
	// filled in and checked.
	enrollment(e Enrollment) ([]byte, error)
	// order reads what can be read of a 2xx answer to an enrollment or a poll. The error
	// says that it holds nothing of an order.
	order(body []byte) (order, error)
	// serials are the forms of the serial for the revocation's URL, best first.
	serials(n *big.Int, width int) []string
	// revocation writes a revocation: the method, the last path segment and the body.
	// The reason is one of reasons.
	revocation(r Revocation) (method, verb string, body []byte)
	// action reads a 2xx answer to a revocation and returns its status word, if any.
	action(body []byte) (word string, err error)
}

// order is what a 2xx answer to an enrollment or poll holds, as far as it can be read.
type order struct {
	trackingID string
	status     string
	serial     string // as the gateway wrote it
	// certificate is the member for the issued certificate, which may hold others too, and
	// chain that for those above it.
	certificate, chain bundle
	// broken says that the answer is no valid JSON, and goes on, or went on, where it could
	// not be read.
	broken bool
}

const (
	problemHollow    = "the answer promises a certificate and holds none"
	problemUnread    = "the certificate in the answer cannot be read"
	problemUntracked = "the answer has no certificate and no id to ask by"
	problemBroken    = "the answer is broken off, or is no valid JSON"
)

// meaning returns what the order means to op, and what is wrong with it. The leaf is what
// leaf found.
func (o order) meaning(op Op, words StatusWords, leaf *x509.Certificate) (m meaning, problem string) {
	switch {
	case !o.broken && hasWord(words.Rejected, o.status):
		return meansRejected, ""
	case leaf != nil:
		return meansIssued, ""
	case o.broken:
		return meansNothing, problemBroken
	case !o.certificate.empty():
		return meansHollow, problemUnread
	case hasWord(words.Issued, o.status):
		return meansHollow, problemHollow
	// A poll knows what it asked for.
	case op == OpEnroll && o.trackingID == "":
		return meansUntracked, problemUntracked
	}
	return meansWaiting, ""
}

// leaf returns the certificate that was issued, nil where the answer holds none that can
// be read. csr, if not nil, returns the request, or nil. A bundle may begin at either end;
// without a request the leaf is the one that issued none of the others.
func (o order) leaf(csr func() *x509.CertificateRequest) *x509.Certificate {
	own := o.certificate
	if len(own.certs)+len(o.chain.certs) == 0 {
		return nil
	}
	if csr != nil {
		if request := csr(); request != nil {
			key := keyBits(request.RawSubjectPublicKeyInfo)
			for _, cert := range slices.Concat(own.certs, o.chain.certs) {
				if bytes.Equal(keyBits(cert.RawSubjectPublicKeyInfo), key) {
					return cert
				}
			}
			if own.unread > 0 {
				return nil // it is the one that cannot be read, rather than a wrong one
			}
		}
	}
	for _, cert := range own.certs {
		issuedOther := func(other *x509.Certificate) bool {
			return !other.Equal(cert) && bytes.Equal(other.RawIssuer, cert.RawSubject)
		}
		if !slices.ContainsFunc(own.certs, issuedOther) && (own.unread == 0 || !cert.IsCA) {
			return cert
		}
	}
	if len(own.certs) > 0 && own.unread == 0 {
		return own.certs[0]
	}
	return nil
}

// parseObject decodes the JSON object of an answer.
func parseObject(body []byte, into any) error {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\ufeff")))
	if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, into) != nil {
		return errNoObject(body)
	}
	return nil
}

func errNoObject(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return errors.New("the answer is empty")
	}
	return errors.New("the answer is not the JSON object that was expected")
}
