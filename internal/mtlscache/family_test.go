package mtlscache

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A signed is a key with its certificate.
type signed struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// newSigned issues a certificate for key; self-signed if by is nil.
func newSigned(t testing.TB, name string, key crypto.Signer, by *signed, change func(*x509.Certificate)) *signed {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, IsCA: name != "client",
	}
	if change != nil {
		change(template)
	}
	if by == nil {
		by = &signed{key, template}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signed{key, cert}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A family is a client, its issuer and the root, also as PEM files of a directory.
type family struct {
	dir               string
	root, sub, client *signed
}

func newFamily(t testing.TB, key crypto.Signer) *family {
	t.Helper()
	f := &family{dir: t.TempDir()}
	f.root = newSigned(t, "root", newKey(t), nil, nil)
	f.sub = newSigned(t, "sub", newKey(t), f.root, nil)
	f.client = newSigned(t, "client", key, f.sub, nil)
	f.write(t, "client.pem", f.client.certPEM())
	f.write(t, "client.key", f.client.keyPEM(t))
	f.write(t, "issuers.pem", append(f.root.certPEM(), f.sub.certPEM()...))
	return f
}

func (s *signed) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})
}

func (s *signed) keyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (f *family) path(name string) string { return filepath.Join(f.dir, name) }

func (f *family) write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(f.path(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// read creates a cache with cfg, and fails the test if it does not hold the client of
// f with its chain.
func (f *family) read(t testing.TB, cfg Config) *Cache {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pair := c.state.Load().pair
	want := [][]byte{f.client.cert.Raw, f.sub.cert.Raw}
	if !slices.EqualFunc(pair.Certificate, want, bytes.Equal) {
		t.Errorf("%d certificates are shown, want the client's and its issuer's", len(pair.Certificate))
	}
	if key, ok := f.client.key.(interface{ Equal(crypto.PrivateKey) bool }); !ok || !key.Equal(pair.PrivateKey) {
		t.Error("another key is used than the client's")
	}
	return c
}
