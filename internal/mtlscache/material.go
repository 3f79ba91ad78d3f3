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

// material is what the files hold: whom we show ourselves as, and whom we
// trust.
type material struct {
	pair     tls.Certificate
	roots    *x509.CertPool // nil: the system's
	rootPEM  []byte
	warnings []string // what of the files is left out, each naming its file
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

// trust sets the certificates that may vouch for the gateway.
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

// newMaterial finds the pair of key and certificate among c, and the chain behind
// the certificate. Of several pairs it takes the one that expires last: a renewed
// one beside the one before.
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
		return nil, unfinished(certPath, because("none of its certificates has the key that it holds; put the certificate of the key into it", c.warnings))
	default:
		return nil, unfinished(certPath, because(fmt.Sprintf("none of its certificates has the key that %q holds; replace both files", keyPath), c.warnings))
	}
	chain := chainOf(m.pair.Leaf, c.certs)
	for _, cert := range chain {
		m.pair.Certificate = append(m.pair.Certificate, cert.Raw)
	}
	m.warn(certPath, c.warnings)
	for _, cert := range c.certs {
		if !isRoot(cert) && !slices.ContainsFunc(chain, cert.Equal) {
			m.warn(certPath, []string{fmt.Sprintf("the certificate of serial number %x is not sent: no issuer links it to the client certificate; remove it from the file, or add what is missing", cert.SerialNumber)})
		}
	}
	return m, nil
}

// chainOf puts the intermediates behind the certificate that they vouch for, from
// leaf to root, as TLS asks for (RFC 8446, section 4.4.2). The files keep no
// order. A self-signed root is left out, since who trusts it has it. Signatures
// are the gateway's to check; names and key identifiers link.
func chainOf(leaf *x509.Certificate, certs []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for {
		var next *x509.Certificate
		for _, cert := range certs {
			if issued(cert, chain[len(chain)-1]) && !slices.ContainsFunc(chain, cert.Equal) &&
				(next == nil || cert.NotAfter.After(next.NotAfter)) { // of two cross-signed ones
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

// issued reports whether issuer seems to have issued cert, and is no root.
func issued(issuer, cert *x509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, cert.RawIssuer) && !isRoot(issuer) &&
		(len(issuer.SubjectKeyId) == 0 || len(cert.AuthorityKeyId) == 0 || bytes.Equal(issuer.SubjectKeyId, cert.AuthorityKeyId))
}

// because adds warnings to a problem that they may explain.
func because(problem string, warnings []string) string {
	if len(warnings) == 0 {
		return problem
	}
	return problem + " (" + strings.Join(warnings, "; ") + ")"
}

// refusal says that the n-th certificate of a file is left out. The error may
// quote the certificate.
func refusal(n int, err error) string {
	why := "it is damaged, or of a form that Go refuses"
	if strings.Contains(err.Error(), "negative serial number") {
		why = "its serial number is negative, which RFC 5280 forbids"
	}
	return fmt.Sprintf("certificate %d is left out: %s; replace it or remove it from the file", n, why)
}
