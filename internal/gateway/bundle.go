package gateway

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode"
)

// bundle holds the certificates in one member of an answer. A certificate that cannot be
// read never hides the others.
type bundle struct {
	certs  []*x509.Certificate
	unread int // certificates that are present and cannot be read
}

func (b *bundle) add(more bundle) {
	b.certs = append(b.certs, more.certs...)
	b.unread += more.unread
}

// empty reports whether the member held no certificate, readable or not.
func (b bundle) empty() bool { return len(b.certs) == 0 && b.unread == 0 }

const (
	// maxMembers bounds how many certificates of one answer are read: far more than a chain
	// has.
	maxMembers = 64
	// maxNesting bounds lists in lists, and encodings in encodings.
	maxNesting = 4
)

// readBundle reads certificates from JSON of any type: a text, a list, or an object with
// the text in one of the members that gateways use.
func readBundle(raw json.RawMessage) bundle { return bundleAt(raw, 0) }

func bundleAt(raw json.RawMessage, depth int) (b bundle) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return b
	}
	if depth > maxNesting {
		return bundle{unread: 1}
	}
	switch raw[0] {
	case '"':
		if s, whole := plainText(raw); whole {
			return readCertificates(s)
		}
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			break
		}
		for _, member := range list {
			if len(b.certs)+b.unread >= maxMembers {
				break
			}
			b.add(bundleAt(member, depth+1))
		}
		return b
	case '{':
		var wire struct {
			Data        json.RawMessage `json:"certificateData"`
			Certificate json.RawMessage `json:"certificate"`
			Body        json.RawMessage `json:"body"`
		}
		if json.Unmarshal(raw, &wire) == nil {
			for _, member := range []json.RawMessage{wire.Data, wire.Certificate, wire.Body} {
				b.add(bundleAt(member, depth+1))
			}
		}
		if m, whole := readMembers(raw); !b.empty() || whole && len(m) == 0 {
			return b
		}
	}
	return bundle{unread: 1}
}

// readCertificates reads certificates from PEM, or from the base64 of DER, PKCS#7 or PEM.
// Gateways differ in the labels and line breaks of PEM, and in the text around it. An empty
// text holds no certificate.
func readCertificates(s string) bundle { return certificatesAt(s, 0) }

func certificatesAt(s string, depth int) bundle {
	s = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(s), "\ufeff"))
	switch {
	case s == "":
		return bundle{}
	case depth > maxNesting:
		return bundle{unread: 1}
	case strings.Contains(s, pemBegin):
		return readPEM(s)
	}
	data, err := parseBase64(s)
	if err != nil {
		return bundle{unread: 1}
	}
	if bytes.Contains(data, []byte(pemBegin)) {
		return certificatesAt(string(data), depth+1)
	}
	return readDER(data)
}

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
	pemDash  = "-----"
)

// certificateLabels are the PEM labels of a certificate, pkcs7Labels those of PKCS#7. Other
// blocks count as unread.
var (
	certificateLabels = map[string]bool{"CERTIFICATE": true, "X509 CERTIFICATE": true, "TRUSTED CERTIFICATE": true}
	pkcs7Labels       = map[string]bool{"PKCS7": true, "PKCS #7 SIGNED DATA": true, "CMS": true}
)

// readPEM reads the PEM blocks of a text. It accepts two forms that encoding/pem refuses: a
// block on one line, and line breaks that were escaped twice.
func readPEM(s string) (b bundle) {
	if strings.Contains(s, `\`) {
		s = strings.NewReplacer(`\r`, "", `\n`, "\n").Replace(s)
	}
	for len(b.certs)+b.unread < maxMembers {
		_, rest, found := strings.Cut(s, pemBegin)
		if !found {
			break
		}
		label, body, _ := strings.Cut(rest, pemDash)
		// A block without its end extends to the next block, or to the end of the text.
		next := strings.Index(body, pemBegin)
		if next < 0 {
			next = len(body)
		}
		text, _, whole := strings.Cut(body[:next], pemEnd)
		s = body[next:]
		der, err := parseBase64(text)
		label = strings.TrimSpace(label)
		switch {
		case !whole || err != nil || !certificateLabels[label] && !pkcs7Labels[label]:
			b.unread++
		default:
			b.add(readDER(der))
		}
	}
	return b
}

// readDER reads one certificate, or the certificates in a PKCS#7 structure.
func readDER(der []byte) bundle {
	if cert, err := parseCertificate(der); err == nil {
		return bundle{certs: []*x509.Certificate{cert}}
	}
	inside, ok := pkcs7Certificates(der)
	if !ok {
		return bundle{unread: 1}
	}
	var b bundle
	for _, one := range inside {
		if cert, err := parseCertificate(one); err == nil {
			b.certs = append(b.certs, cert)
		} else {
			b.unread++
		}
	}
	return b
}

// parseBase64 decodes base64 of either alphabet, with or without line breaks and padding.
func parseBase64(s string) ([]byte, error) {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return -1
		case r == '-':
			return '+'
		case r == '_':
			return '/'
		}
		return r
	}, s)
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
}
