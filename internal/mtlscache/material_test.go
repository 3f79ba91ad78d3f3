package mtlscache_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// certificateFor returns a self-signed certificate for key.
func certificateFor(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestPEMForms(t *testing.T) {
	t.Parallel()
	bytesOf := must[[]byte](t)
	p := newAuthority(t).client(t)
	ec := p.key.(*ecdsa.PrivateKey)
	sec1 := bytesOf(x509.MarshalECPrivateKey(ec))
	rsaKey := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dh := must[*ecdh.PrivateKey](t)(ecdh.X25519().GenerateKey(rand.Reader))

	for _, tc := range []struct {
		name      string
		cert, key []byte
		want      string // part of the error; empty: read
	}{
		{"PKCS#8", p.certPEM, p.keyPEM, ""},
		{"SEC 1 behind its parameters", p.certPEM, append(block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), block("EC PRIVATE KEY", sec1)...), ""},
		{"PKCS#1", certificateFor(t, rsaKey), block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), ""},
		{"Ed25519", certificateFor(t, ed), block("PRIVATE KEY", bytesOf(x509.MarshalPKCS8PrivateKey(ed))), ""},
		{"text around the blocks", append([]byte("subject=CN = client\n"), p.certPEM...), append([]byte("Bag Attributes\n"), p.keyPEM...), ""},
		{"CRLF", bytes.ReplaceAll(p.certPEM, []byte("\n"), []byte("\r\n")), p.keyPEM, ""},
		{"both in both", append(p.keyPEM, p.certPEM...), append(p.certPEM, p.keyPEM...), ""},
		{"another key", p.certPEM, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), "no certificate in it matches the key in"},
		{"a key that cannot sign", p.certPEM, block("PRIVATE KEY", bytesOf(x509.MarshalPKCS8PrivateKey(dh))), "holds no private key that can sign"},
		{"empty certificate", nil, p.keyPEM, "is empty"},
		{"no certificate", []byte("none\n"), p.keyPEM, "holds no PEM certificate"},
		{"files switched", p.keyPEM, p.certPEM, "holds no PEM certificate"},
		{"no key", p.certPEM, p.certPEM, "holds no PEM private key"},
		{"certificate in DER", p.leaf.Raw, p.keyPEM, "holds no PEM certificate"},
		{"malformed certificate", block("CERTIFICATE", []byte("hush")), p.keyPEM, "holds no PEM certificate that can be used; write the client certificate into it (certificate 1 is left out"},
		{"malformed second certificate", append(p.certPEM, block("CERTIFICATE", []byte("hush"))...), p.keyPEM, ""},
		{"malformed certificate of the key", append(block("CERTIFICATE", []byte("hush")), certificateFor(t, ed)...), p.keyPEM, "replace both files (certificate 1 is left out"},
		{"a byte-order mark", append([]byte("\xef\xbb\xbf"), p.certPEM...), append([]byte("\xef\xbb\xbf"), p.keyPEM...), ""},
		{"label of old tools", bytes.ReplaceAll(p.certPEM, []byte(" CERTIFICATE-"), []byte(" X509 CERTIFICATE-")), p.keyPEM, ""},
		{"several keys", p.certPEM, append(block("PRIVATE KEY", bytesOf(x509.MarshalPKCS8PrivateKey(ed))), p.keyPEM...), ""},
		{"malformed key", p.certPEM, block("PRIVATE KEY", []byte("hush")), "malformed or of an unknown kind"},
		{"encrypted PKCS#8", p.certPEM, block("ENCRYPTED PRIVATE KEY", []byte("hush")), "holds an encrypted key; name the file of its password"},
		{"encrypted in the old way", p.certPEM, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("hush")}), "convert it with: openssl pkcs8 -topk8"},
		{"truncated certificate", p.certPEM[:len(p.certPEM)-10], p.keyPEM, "ends inside a PEM block"},
		{"truncated key", p.certPEM, p.keyPEM[:len(p.keyPEM)-10], "ends inside a PEM block"},
		{"too large", bytes.Repeat([]byte("x"), 1<<20+1), p.keyPEM, "larger than 1 MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &rig{dir: t.TempDir()}
			r.write(t, r.path("cert"), tc.cert)
			r.write(t, r.path("key"), tc.key)
			_, err := mtlscache.New(mtlscache.Config{CertFile: r.path("cert"), KeyFile: r.path("key")})
			if tc.want == "" {
				if err != nil {
					t.Fatalf("New = %v, want nil", err)
				}
				return
			}
			if !credentials(err) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("New = %v, want a KeyPairError with %q", err, tc.want)
			}
			holdsNothingOf(t, err, tc.cert, tc.key)
		})
	}
}

// holdsNothingOf fails the test if the text of an error quotes a line or another part
// of content.
func holdsNothingOf(t *testing.T, err error, contents ...[]byte) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		for _, content := range contents {
			for line := range strings.Lines(string(content)) {
				line = strings.TrimSpace(line)
				if len(line) >= 4 && line != "none" && line != "Proc-Type: 4,ENCRYPTED" && strings.Contains(err.Error(), line) {
					t.Errorf("error %q quotes %q", err, line)
				}
			}
		}
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("error %q quotes content", err)
		}
	}
}

func TestPKCS12(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	sub := &authority{pair: root.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})}
	sub.next.Store(500)
	first, second := sub.client(t), sub.client(t)
	encode := func(enc *pkcs12.Encoder, p pair, password string) []byte {
		t.Helper()
		// The issuers in the wrong order, as the format allows.
		return must[[]byte](t)(enc.Encode(p.key, p.leaf, []*x509.Certificate{root.leaf, sub.leaf}, password))
	}

	// A server that trusts only the root gets the intermediate too.
	g := newGateway(t, root, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := len(r.TLS.PeerCertificates); got != 2 || !r.TLS.PeerCertificates[1].Equal(sub.leaf) {
			t.Errorf("shown %d certificates, want the client's and its issuer's", got)
		}
	}))
	r := &rig{dir: t.TempDir(), gateway: g}
	p12, password := r.path("client.p12"), r.path("password")
	r.write(t, p12, encode(pkcs12.Modern2026, first, "pässword 1"))
	r.write(t, password, []byte("pässword 1\r\n"))
	r.write(t, r.path("ca.pem"), root.certPEM)

	cfg := mtlscache.Config{PKCS12File: p12, PKCS12PasswordFile: password, ServerCAFile: r.path("ca.pem"), HalfRotationWait: patience}
	var err error
	if r.cache, err = mtlscache.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.cache.CloseIdleConnections)
	r.client = &http.Client{Transport: r.cache}
	r.mustCall(t, first)

	// A new password comes before the file that it opens.
	r.write(t, password, []byte("other"))
	r.mustCall(t, first)
	if err := r.cache.Look(); !credentials(err) || !strings.Contains(err.Error(), "the password does not open it") {
		t.Errorf("Look() = %v, want that the password does not open it", err)
	} else {
		holdsNothingOf(t, err, []byte("pässword 1"), []byte("other"))
	}
	r.write(t, p12, encode(pkcs12.LegacyDES, second, "other"))
	r.mustCall(t, second)
	if got := r.cache.Reloads(); got != 1 {
		t.Errorf("%d reloads, want 1", got)
	}

	// No password.
	r.write(t, p12, encode(pkcs12.Passwordless, first, ""))
	if _, err := mtlscache.New(mtlscache.Config{PKCS12File: p12}); err != nil {
		t.Errorf("New without a password = %v", err)
	}
	r.write(t, p12, []byte("hush"))
	_, err = mtlscache.New(mtlscache.Config{PKCS12File: p12})
	if !credentials(err) || !strings.Contains(err.Error(), "is not a PKCS#12 file") {
		t.Errorf("New of garbage = %v", err)
	}
	holdsNothingOf(t, err)
}

// TestExpired has an expired certificate. The cache reports it, and sends it all the
// same.
func TestExpired(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	expired := ca.sign(t, &x509.Certificate{NotAfter: time.Date(2002, 3, 4, 5, 6, 7, 0, time.UTC)})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.PeerCertificates[0].SerialNumber.String())
	}))
	srv.TLS = ca.serverTLS(t)
	srv.TLS.ClientAuth = tls.RequireAnyClientCert
	srv.TLS.ClientCAs = x509.NewCertPool() // the server asks for certificates of other CAs
	srv.TLS.ClientCAs.AddCert(newAuthority(t).leaf)
	srv.StartTLS()
	t.Cleanup(srv.Close)

	r := &rig{dir: t.TempDir(), gateway: &gateway{url: srv.URL}}
	r.write(t, r.path("both.pem"), append(expired.certPEM, expired.keyPEM...))
	r.write(t, r.path("ca.pem"), ca.certPEM)
	cache, err := mtlscache.New(mtlscache.Config{CertFile: r.path("both.pem"), KeyFile: r.path("both.pem"), ServerCAFile: r.path("ca.pem")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.CloseIdleConnections)
	if got := cache.NotAfter(); !got.Equal(expired.leaf.NotAfter) {
		t.Errorf("NotAfter() = %v, want %v", got, expired.leaf.NotAfter)
	}
	r.client = &http.Client{Transport: cache}
	r.mustCall(t, expired)
}

// TestTooOldTLS refuses a gateway that supports TLS 1.1 at most.
func TestTooOldTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = ca.serverTLS(t)
	srv.TLS.MinVersion, srv.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	(&gateway{}).count(srv.Config)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	r := newFiles(t, nil)
	r.write(t, r.path("ca.pem"), ca.certPEM)
	cache, err := mtlscache.New(mtlscache.Config{CertFile: r.cert, KeyFile: r.key, ServerCAFile: r.path("ca.pem")})
	if err != nil {
		t.Fatal(err)
	}
	r.client, r.gateway = &http.Client{Transport: cache}, &gateway{url: srv.URL}
	if _, err := r.call(t.Context()); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("call over TLS 1.1 ended in %v, want a refusal of the version", err)
	}
}

// FuzzPEM feeds files to the parsers. For any content New returns a cache or a
// KeyPairError.
func FuzzPEM(f *testing.F) {
	p := newAuthority(f).client(f)
	f.Add(p.certPEM, p.keyPEM)
	f.Add(p.keyPEM, p.certPEM)
	f.Add(p.certPEM[:100], []byte("-----BEGIN EC PRIVATE KEY-----"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), p.keyPEM)
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		r := &rig{dir: t.TempDir()}
		r.write(t, r.path("cert"), cert)
		r.write(t, r.path("key"), key)
		r.write(t, r.path("p12"), cert)
		if _, err := mtlscache.New(mtlscache.Config{CertFile: r.path("cert"), KeyFile: r.path("key"), ServerCAFile: r.path("cert")}); err != nil && !credentials(err) {
			t.Errorf("PEM: %v is no KeyPairError", err)
		}
		if _, err := mtlscache.New(mtlscache.Config{PKCS12File: r.path("p12"), PKCS12PasswordFile: r.path("key")}); err != nil && !credentials(err) {
			t.Errorf("PKCS#12: %v is no KeyPairError", err)
		}
	})
}
