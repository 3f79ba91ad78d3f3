package mtlscache

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
)

// material is what the files hold: whom we show ourselves as, and whom we
// trust.
type material struct {
	pair    tls.Certificate
	roots   *x509.CertPool // nil: the system's
	rootPEM []byte
}

// same reports whether two materials lead to the same connections. Each key was
// checked against its certificate, so equal certificates mean equal keys.
func (m *material) same(other *material) bool {
	return slices.EqualFunc(m.pair.Certificate, other.pair.Certificate, bytes.Equal) &&
		bytes.Equal(m.rootPEM, other.rootPEM)
}

func (m *material) notAfter() time.Time { return m.pair.Leaf.NotAfter }

// trust sets the certificates that may vouch for the gateway.
func (m *material) trust(path string, content []byte) error {
	certs, err := certificates(path, content)
	if err != nil {
		return err
	}
	m.roots, m.rootPEM = x509.NewCertPool(), content
	for _, cert := range certs {
		m.roots.AddCert(cert)
	}
	return nil
}

// newMaterial joins a certificate, the intermediates after it, and its key.
func newMaterial(certPath string, chain []*x509.Certificate, keyPath string, key crypto.PrivateKey) (*material, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, unfinished(keyPath, "holds a private key that cannot sign")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(chain[0].PublicKey) {
		if certPath == keyPath {
			return nil, unfinished(certPath, "its key is not that of its first certificate")
		}
		return nil, unfinished(certPath, fmt.Sprintf("its first certificate has another key than %q holds; was one replaced without the other?", keyPath))
	}
	m := &material{pair: tls.Certificate{PrivateKey: key, Leaf: chain[0]}}
	for _, cert := range chain {
		m.pair.Certificate = append(m.pair.Certificate, cert.Raw)
	}
	return m, nil
}

// parsePEM reads a certificate file and a key file.
func parsePEM(paths []string, content [][]byte) (*material, error) {
	chain, err := certificates(paths[0], content[0])
	if err != nil {
		return nil, err
	}
	key, err := privateKey(paths[1], content[1])
	if err != nil {
		return nil, err
	}
	return newMaterial(paths[0], chain, paths[1], key)
}

// certificates returns all certificates of a PEM file, at least one. Other
// blocks are skipped, so that a key may stand in the same file.
func certificates(path string, content []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(content); ; block, rest = pem.Decode(rest) {
		if block == nil {
			if err := unbroken(path, rest); err != nil {
				return nil, err
			}
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, unfinished(path, fmt.Sprintf("certificate %d is malformed", len(certs)+1))
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, unfinished(path, "holds no PEM certificate")
	}
	return certs, nil
}

// privateKey returns the first private key of a PEM file. What is wrong with
// the bytes of a key is nobody's to read, so parse errors are not passed on.
func privateKey(path string, content []byte) (crypto.PrivateKey, error) {
	for block, rest := pem.Decode(content); ; block, rest = pem.Decode(rest) {
		if block == nil {
			if err := unbroken(path, rest); err != nil {
				return nil, err
			}
			return nil, unfinished(path, "holds no PEM private key")
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, unfinished(path, "holds an encrypted key; decrypt it, or use PKCS#12 with a password file")
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		var key *ecdsa.PrivateKey
		key, err := x509.ParseECPrivateKey(block.Bytes)
		if err != nil {
			return nil, unfinished(path, "holds a private key that is malformed or of an unknown kind")
		}
		return key, nil
	}
}

// unbroken refuses a PEM file that ends inside a block. The decoder would skip
// that block, and a chain still being written would go out without its end.
func unbroken(path string, rest []byte) error {
	if bytes.Contains(rest, []byte("-----BEGIN ")) {
		return unfinished(path, "ends inside a PEM block, or holds a broken one")
	}
	return nil
}
