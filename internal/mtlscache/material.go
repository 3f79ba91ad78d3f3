package mtlscache

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// material is the content of the files: the client's key pair, and the CAs that it
// trusts.
type material struct {
	pair     tls.Certificate
	roots    *x509.CertPool // nil: the system's
	rootPEM  []byte
	warnings []string // one for each part that is not in use, with its file
}

// same reports whether two materials lead to the same connections. Each key was
// checked against its certificate, so equal certificates mean equal keys.
func (m *material) same(other *material) bool {
	return slices.EqualFunc(m.pair.Certificate, other.pair.Certificate, bytes.Equal) &&
		bytes.Equal(m.rootPEM, other.rootPEM)
}

func (m *material) notAfter() time.Time { return m.pair.Leaf.NotAfter }

// warn adds warnings about one file.
func (m *material) warn(path string, warnings []string) {
	for _, w := range warnings {
		m.warnings = append(m.warnings, fmt.Sprintf("%q: %s", path, w))
	}
}

// trust sets the CA certificates that the client trusts for the gateway.
func (m *material) trust(path string, content []byte) error {
	certs, warnings, err := certificates(path, content)
	if err != nil {
		return err
	}
	if len(certs) == 0 {
		return unfinished(path, because("holds no PEM certificate that can be used; write the CA certificates of the gateway into it", warnings))
	}
	m.warn(path, warnings)
	m.roots, m.rootPEM = x509.NewCertPool(), content
	for _, cert := range certs {
		m.roots.AddCert(cert)
	}
	return nil
}

// newMaterial finds the pair of key and certificate among c, and the chain of the
// certificate. Of several pairs it takes the last to expire, since a file may hold a
// renewed pair beside the old one.
func newMaterial(certPath, keyPath string, c *credentials) (*material, error) {
	var m *material
	signs := false
	for _, key := range c.keys {
		signer, ok := key.(crypto.Signer)
		if !ok {
			continue
		}
		signs = true
		for _, cert := range c.certs {
			if public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(signer.Public()) &&
				(m == nil || cert.NotAfter.After(m.notAfter())) {
				m = &material{pair: tls.Certificate{PrivateKey: key, Leaf: cert}}
			}
		}
	}
	switch {
	case m != nil:
	case !signs:
		return nil, unfinished(keyPath, "holds no private key that can sign")
	case certPath == keyPath:
		return nil, unfinished(certPath, because("no certificate in it matches its key; add the certificate of the key", c.warnings))
	default:
		return nil, unfinished(certPath, because(fmt.Sprintf("no certificate in it matches the key in %q; replace both files", keyPath), c.warnings))
	}
	chain := chainOf(m.pair.Leaf, c.certs)
	for _, cert := range chain {
		m.pair.Certificate = append(m.pair.Certificate, cert.Raw)
	}
	m.warn(certPath, c.warnings)
	for _, cert := range c.certs {
		if !isRoot(cert) && !slices.ContainsFunc(chain, cert.Equal) {
			m.warn(certPath, []string{fmt.Sprintf("the certificate with serial number %x is not sent: it does not link to the client certificate; remove it from the file, or add the missing issuer", cert.SerialNumber)})
		}
	}
	return m, nil
}

// chainOf returns the certificate and its intermediates from leaf to root, as TLS
// requires (RFC 8446, section 4.4.2). The files may have any order. chainOf leaves
// out a self-signed root: a server that trusts it has it. It links by names and key
// identifiers; the gateway checks the signatures.
func chainOf(leaf *x509.Certificate, certs []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for {
		var next *x509.Certificate
		for _, cert := range certs {
			if issued(cert, chain[len(chain)-1]) && !slices.ContainsFunc(chain, cert.Equal) &&
				(next == nil || cert.NotAfter.After(next.NotAfter)) { // of two cross-signed certificates the later
				next = cert
			}
		}
		if next == nil {
			return chain
		}
		chain = append(chain, next)
	}
}

func isRoot(cert *x509.Certificate) bool { return bytes.Equal(cert.RawSubject, cert.RawIssuer) }

// issued reports whether issuer issued cert, by name and key identifier, and is no
// root.
func issued(issuer, cert *x509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, cert.RawIssuer) && !isRoot(issuer) &&
		(len(issuer.SubjectKeyId) == 0 || len(cert.AuthorityKeyId) == 0 || bytes.Equal(issuer.SubjectKeyId, cert.AuthorityKeyId))
}

// because adds warnings that may explain a problem.
func because(problem string, warnings []string) string {
	if len(warnings) == 0 {
		return problem
	}
	return problem + " (" + strings.Join(warnings, "; ") + ")"
}

// refusal returns the warning that the n-th certificate of a file is left out. It
// does not repeat err, which may quote the certificate.
func refusal(n int, err error) string {
	why := "it is damaged, or of a form that Go refuses"
	if strings.Contains(err.Error(), "negative serial number") {
		why = "its serial number is negative, which RFC 5280 forbids"
	}
	return fmt.Sprintf("certificate %d is left out: %s; replace it or remove it from the file", n, why)
}
