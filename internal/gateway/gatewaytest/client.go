package gatewaytest

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// ServerCA returns the path of the CA certificate that signed the server's, in PEM.
func (s *Server) ServerCA() string { return filepath.Join(s.dir, "ca.crt") }

// ClientCert returns the path of the client certificate, in PEM.
func (s *Server) ClientCert() string { return filepath.Join(s.dir, "client.crt") }

// ClientKey returns the path of the client's private key, in PEM (PKCS#8).
func (s *Server) ClientKey() string { return filepath.Join(s.dir, "client.key") }

// ClientPKCS12 returns the path of the same pair as PKCS#12.
func (s *Server) ClientPKCS12() string { return filepath.Join(s.dir, "client.p12") }

// ClientPKCS12Password returns the path of the file with the password of ClientPKCS12.
func (s *Server) ClientPKCS12Password() string {
	return filepath.Join(s.dir, "client.p12.password")
}

// IssueClient signs a new client key pair for the subject that the gateway accepts,
// valid for the given time, and returns it in PEM. It writes no file: tests write the
// files in their own order. A negative validity gives an expired pair.
func (s *Server) IssueClient(validity time.Duration) (certPEM, keyPEM []byte, err error) {
	return s.pki.issueClient(pkix.Name{Organization: []string{orgName}, CommonName: clientSubject}, validity, time.Now())
}

// IssueStranger is IssueClient for a subject that the gateway does not accept: the
// handshake succeeds, and the gateway answers every request with 403.
func (s *Server) IssueStranger() (certPEM, keyPEM []byte, err error) {
	return s.pki.issueClient(pkix.Name{Organization: []string{orgName}, CommonName: "stranger"}, 24*time.Hour, time.Now())
}

// RotateClient replaces the client pair in all its forms by a new pair for the same
// subject. It replaces each file by rename, the key before the certificate. The gateway
// still accepts the old pair.
func (s *Server) RotateClient() error { return s.writeClient(time.Now()) }

// ensureClient writes the client pair unless dir has a pair that this gateway signed.
func (s *Server) ensureClient(now time.Time) error {
	pair, err := tls.LoadX509KeyPair(s.ClientCert(), s.ClientKey())
	if errors.Is(err, fs.ErrNotExist) {
		return s.writeClient(now)
	}
	if err != nil {
		return fmt.Errorf("reading client pair: %w", err)
	}
	if pair.Leaf.CheckSignatureFrom(s.pki.transport.cert) != nil {
		return s.writeClient(now)
	}
	return nil
}

func (s *Server) writeClient(now time.Time) error {
	name := pkix.Name{Organization: []string{orgName}, CommonName: clientSubject}
	certPEM, keyPEM, err := s.pki.issueClient(name, 2*365*24*time.Hour, now)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("reading back client pair: %w", err)
	}
	password, err := readPassword(s.ClientPKCS12Password())
	if err != nil {
		return err
	}
	p12, err := pkcs12.Modern2023.Encode(pair.PrivateKey, pair.Leaf, []*x509.Certificate{s.pki.transport.cert}, password)
	if err != nil {
		return fmt.Errorf("encoding client PKCS#12: %w", err)
	}
	return errors.Join(
		writeFile(s.ClientKey(), keyPEM, 0o600),
		writeFile(s.ClientCert(), certPEM, 0o644),
		writeFile(s.ClientPKCS12(), p12, 0o600),
	)
}

// readPassword reads the PKCS#12 password, or makes one.
func readPassword(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		return string(bytes.TrimSpace(data)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading PKCS#12 password: %w", err)
	}
	var b [12]byte
	rand.Read(b[:])
	password := hex.EncodeToString(b[:])
	return password, writeFile(path, []byte(password+"\n"), 0o600)
}

func (p *pki) issueClient(name pkix.Name, validity time.Duration, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	notBefore := now.Add(-time.Hour)
	notAfter := now.Add(validity)
	if validity < 0 {
		notBefore = notAfter.Add(-time.Hour)
	}
	tmpl := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      name,
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.transport.cert, key.Public(), p.transport.key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing client certificate: %w", err)
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	return encodeCert(der), keyPEM, nil
}
