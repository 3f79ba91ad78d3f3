package gateway

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
)

// dialect writes requests and reads answers of one kind of gateway. Each error is one short
// sentence without text of a body.
type dialect interface {
	// name is the dialect's name.
	name() Dialect
	// enrollment writes the body of an enrollment. The caller has filled in and checked CSR,
	// ProfileID and SANs of e.
	enrollment(e Enrollment) ([]byte, error)
	// order reads a 2xx answer to an enrollment or a poll, as far as it can be read. It
	// returns an error if the answer holds no part of an order.
	order(body []byte) (order, error)
	// serials returns the forms of the serial for the revocation's URL, best first. width is
	// the width to which the CA pads serials; 0: unknown.
	serials(n *big.Int, width int) []string
	// revocation writes a revocation: the method, the last path segment and the body.
	// The reason is one of reasons, or RemoveFromCRL.
	revocation(r Revocation) (method, verb string, body []byte)
	// action reads a 2xx answer to a revocation and returns its status word, if any.
	action(body []byte) (word string, err error)
}

// order holds what could be read of a 2xx answer to an enrollment or poll.
type order struct {
	trackingID string
	status     string
	serial     string // as the gateway wrote it
	// certificate is the member for the issued certificate; it may hold others too. chain is
	// the member for the certificates above it.
	certificate, chain bundle
	// broken: the answer is truncated or no valid JSON, so members may be missing.
	broken bool
}

const (
	problemHollow    = "the answer says issued but holds no certificate"
	problemUnread    = "the certificate in the answer cannot be read"
	problemUntracked = "the answer holds neither a certificate nor a tracking id"
	problemBroken    = "the answer is truncated or no valid JSON"
)

// meaning returns what the answer means to op, and its problem. leaf is the result of
// order.leaf.
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
	// A poll has the tracking id already.
	case op == OpEnroll && o.trackingID == "":
		return meansUntracked, problemUntracked
	}
	return meansWaiting, ""
}

// leaf returns the issued certificate; nil if the answer holds no readable one. csr, if not
// nil, returns the certificate request or nil. With a request, the leaf is the certificate
// with its key. Without one, it is the certificate that issued none of the others: a bundle
// may begin at either end.
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
				return nil // the unread certificate is probably the leaf
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

// parseObject decodes an answer that must be a JSON object.
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
	return errors.New("the answer is not a JSON object")
}
