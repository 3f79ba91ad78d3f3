package gatewaytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// authority is a certificate with the key it certifies.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// pki holds every key of a Server. As with a real gateway, the CA of the transport (server and
// client certificates) is not the CA that issues the enrolled certificates.
type pki struct {
	transport authority
	root      authority
	issuing   authority
	// stray has the issuing CA's name and a key that no chain certifies.
	stray authority
	// expired is an expired certificate of the issuing CA: same name, same key, validity in the
	// past. DER.
	expired []byte
	// decoy is the key of certificates with a wrong key.
	decoy []byte
}

const (
	orgName       = "Gateway Simulator"
	clientSubject = "entrust-worker"
)

// loadPKI reads the CAs from dir, or creates them there.
func loadPKI(dir string, now time.Time) (*pki, error) {
	p := &pki{}
	var err error
	if p.transport, err = loadAuthority(dir, "ca", "Transport CA", authority{}, now); err != nil {
		return nil, err
	}
	if p.root, err = loadAuthority(dir, "root-ca", "Root CA", authority{}, now); err != nil {
		return nil, err
	}
	if p.issuing, err = loadAuthority(dir, "issuing-ca", "Issuing CA", p.root, now); err != nil {
		return nil, err
	}
	strayKey, err := newKey()
	if err != nil {
		return nil, err
	}
	p.stray = authority{cert: p.issuing.cert, key: strayKey}
	decoy, err := newKey()
	if err != nil {
		return nil, err
	}
	if p.decoy, err = x509.MarshalPKIXPublicKey(decoy.Public()); err != nil {
		return nil, fmt.Errorf("encoding decoy key: %w", err)
	}
	twin := caTemplate("Issuing CA", now)
	twin.NotBefore, twin.NotAfter = now.AddDate(-3, 0, 0), now.AddDate(-1, 0, 0)
	p.expired, err = x509.CreateCertificate(rand.Reader, twin, p.root.cert, p.issuing.key.Public(), p.root.key)
	if err != nil {
		return nil, fmt.Errorf("signing expired issuer: %w", err)
	}
	return p, nil
}

// loadAuthority reads dir/name.crt and .key. If there is no key file, it creates the pair,
// signed by parent (self-signed if parent is zero), and writes both.
func loadAuthority(dir, name, cn string, parent authority, now time.Time) (authority, error) {
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	if _, err := os.Stat(keyFile); err == nil {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return authority{}, fmt.Errorf("reading CA %q: %w", certFile, err)
		}
		key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
		if !ok {
			return authority{}, fmt.Errorf("reading CA %q: key is not ECDSA", certFile)
		}
		return authority{cert: pair.Leaf, key: key}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return authority{}, fmt.Errorf("reading CA: %w", err)
	}

	key, err := newKey()
	if err != nil {
		return authority{}, err
	}
	tmpl := caTemplate(cn, now)
	signer, issuer := key, tmpl
	if parent.cert != nil {
		signer, issuer = parent.key, parent.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, key.Public(), signer)
	if err != nil {
		return authority{}, fmt.Errorf("signing CA %q: %w", cn, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, fmt.Errorf("parsing CA %q: %w", cn, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return authority{}, err
	}
	// The key is written last: a key file means that the pair is complete.
	if err := writeFile(certFile, encodeCert(der), 0o644); err != nil {
		return authority{}, err
	}
	return authority{cert: cert, key: key}, writeFile(keyFile, keyPEM, 0o600)
}

func caTemplate(cn string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{Organization: []string{orgName}, CommonName: cn},
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// serverCertificate creates the key pair of the TLS listener. It is never written to disk.
func (p *pki) serverCertificate(cfg Config, now time.Time) (tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	names, addrs := cfg.serverNames()
	tmpl := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{Organization: []string{orgName}, CommonName: names[0]},
		DNSNames:     names,
		NotBefore:    now.Add(-cfg.Age),
		NotAfter:     now.AddDate(5, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, a := range addrs {
		tmpl.IPAddresses = append(tmpl.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.transport.cert, key.Public(), p.transport.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("signing server certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating key: %w", err)
	}
	return key, nil
}

func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b[:])
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeFile replaces path by rename, so that a reader sees the old or the new content.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return nil
}

// chains are the CA certificates of issued certificates, in every form that answers need.
type chains struct {
	good    chain
	expired chain
	certs   []*x509.Certificate
}

type chain struct {
	pem  string
	data []certData
}

func (p *pki) chains() chains {
	form := func(ders ...[]byte) chain {
		var c chain
		for _, der := range ders {
			c.pem += string(encodeCert(der))
			c.data = append(c.data, certData{base64.StdEncoding.EncodeToString(der)})
		}
		return c
	}
	return chains{
		good:    form(p.issuing.cert.Raw, p.root.cert.Raw),
		expired: form(p.expired, p.root.cert.Raw),
		certs:   []*x509.Certificate{p.issuing.cert, p.root.cert},
	}
}

// clientName returns the DER of the subject that the gateway accepts as its client.
func clientName() ([]byte, error) {
	return marshalName(pkix.Name{Organization: []string{orgName}, CommonName: clientSubject}.ToRDNSequence())
}
