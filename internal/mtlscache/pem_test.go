package mtlscache

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPEMInAnyOrder checks that the cache finds the certificate of the key, and orders
// the certificates from leaf to root.
func TestPEMInAnyOrder(t *testing.T) {
	t.Parallel()
	f := newFamily(t, newKey(t))
	sub, root, client := f.sub.certPEM(), f.root.certPEM(), f.client.certPEM()
	renewed := newSigned(t, "sub", f.sub.key, f.root, func(c *x509.Certificate) { c.NotAfter = time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC) })
	namesake := newSigned(t, "sub", newKey(t), f.root, func(c *x509.Certificate) { c.NotAfter = time.Date(2150, 1, 1, 0, 0, 0, 0, time.UTC) })
	expired := newSigned(t, "client", f.client.key, f.sub, func(c *x509.Certificate) { c.NotAfter = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC) })
	hush := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hush")})
	broken := bytes.Replace(root, []byte("\nM"), []byte("\n!"), 1)
	for _, tc := range []struct {
		name  string
		certs [][]byte
		warns []string // parts of the warnings
	}{
		{"leaf to root", [][]byte{client, sub, root}, nil},
		{"root to leaf", [][]byte{root, sub, client}, nil},
		{"the leaf in the middle", [][]byte{sub, client, root}, nil},
		{"each twice", [][]byte{root, sub, sub, client, client}, nil},
		{"text between", [][]byte{[]byte("subject=CN = sub\n"), sub, []byte("\nsubject=CN = client\n"), client}, nil},
		{"the key in between", [][]byte{sub, f.client.keyPEM(t), client}, nil},
		{"an older certificate of the issuer", [][]byte{renewed.certPEM(), sub, client}, []string{"is not sent"}},
		{"a namesake of the issuer", [][]byte{namesake.certPEM(), sub, client}, []string{"is not sent"}},
		{"the certificate before", [][]byte{expired.certPEM(), client, sub}, []string{"is not sent"}},
		{"one that Go refuses", [][]byte{hush, client, sub}, []string{"certificate 1 is left out"}},
		{"a broken block", [][]byte{broken, client, sub}, []string{"broken PEM blocks are left out: 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.write(t, "certs.pem", bytes.Join(tc.certs, nil))
			got := f.read(t, Config{CertFile: f.path("certs.pem"), KeyFile: f.path("client.key")}).Warnings()
			if !slices.EqualFunc(got, tc.warns, func(got, want string) bool {
				return strings.Contains(got, want) && strings.Contains(got, f.path("certs.pem"))
			}) {
				t.Errorf("Warnings() = %q, want %q", got, tc.warns)
			}
		})
	}
}

// TestEncryptedKeys reads the keys that OpenSSL writes (testdata/pkcs8/make.sh). The
// error for an unsupported one names the command that converts it.
func TestEncryptedKeys(t *testing.T) {
	t.Parallel()
	const made = "testdata/pkcs8/"
	refused := map[string]string{ // parts of the error
		"scrypt":      "key derivation 1.3.6.1.4.1.11591.4.11, which is not supported; convert it with: openssl pkcs8 -topk8",
		"aria":        "cipher 1.2.410.200046.1.1.2, which is not supported; convert it with: openssl pkcs8 -topk8",
		"pkcs12-3des": "encryption 1.2.840.113549.1.12.1.3, which is not supported; convert it with: openssl pkcs8 -topk8",
		"old-form":    "(Proc-Type: 4,ENCRYPTED); convert it with: openssl pkcs8 -topk8",
	}
	files, err := filepath.Glob(made + "*.key")
	if err != nil || len(files) != 14 {
		t.Fatalf("%d files, %v; want 14", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".key")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &family{dir: t.TempDir()}
			f.write(t, "password", []byte("\xef\xbb\xbfpässwörd €\r\n"))
			f.write(t, "other", []byte("hush"))
			cfg := Config{CertFile: made + "client.pem", KeyFile: file, KeyPasswordFile: f.path("password")}
			c, err := New(cfg)
			if want := refused[name]; want != "" {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("New = %v, want %q", err, want)
				}
				return
			}
			if err != nil || len(c.Warnings()) > 0 {
				t.Fatalf("New = %v, warnings %q", err, c.Warnings())
			}
			cfg.KeyPasswordFile = ""
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "name the file of its password") {
				t.Errorf("New without the password = %v", err)
			}
			cfg.KeyPasswordFile = f.path("other")
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "the password does not open its key") || strings.Contains(err.Error(), "hush") {
				t.Errorf("New with another password = %v", err)
			}
		})
	}
}

// TestDecryptPBES2 decrypts with parameters that no tool writes.
func TestDecryptPBES2(t *testing.T) {
	t.Parallel()
	type (
		identifier struct {
			Algorithm  asn1.ObjectIdentifier
			Parameters any `asn1:"optional"`
		}
		derivation struct {
			Salt   []byte
			Rounds int
			Size   int `asn1:"optional"`
		}
		params struct{ Key, Cipher identifier }
	)
	aes := asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	block := make([]byte, 16)
	for _, tc := range []struct {
		name       string
		params     any
		ciphertext []byte
		want       string
	}{
		{"another password", params{identifier{oidPBKDF2, derivation{block, 1, 0}}, identifier{aes, block}}, block, errPassword.Error()},
		{"a size of the key", params{identifier{oidPBKDF2, derivation{block, 1, 32}}, identifier{aes, block}}, block, errPassword.Error()},
		{"no rounds", params{identifier{oidPBKDF2, derivation{block, 0, 0}}, identifier{aes, block}}, block, "iteration count of 0"},
		{"fewer than none", params{identifier{oidPBKDF2, derivation{block, -1, 0}}, identifier{aes, block}}, block, "iteration count of -1"},
		{"rounds for minutes", params{identifier{oidPBKDF2, derivation{block, 2e9, 0}}, identifier{aes, block}}, block, "iteration count of 2000000000"},
		{"a short initial vector", params{identifier{oidPBKDF2, derivation{block, 1, 0}}, identifier{aes, block[:8]}}, block, errBER.Error()},
		{"no initial vector", params{identifier{oidPBKDF2, derivation{block, 1, 0}}, identifier{aes, 1}}, block, errBER.Error()},
		{"nothing encrypted", params{identifier{oidPBKDF2, derivation{block, 1, 0}}, identifier{aes, block}}, nil, errBER.Error()},
		{"half a block", params{identifier{oidPBKDF2, derivation{block, 1, 0}}, identifier{aes, block}}, block[:8], errBER.Error()},
		{"no derivation", params{identifier{oidPBKDF2, 1}, identifier{aes, block}}, block, errBER.Error()},
		{"no parameters", 1, block, errBER.Error()},
	} {
		der, err := asn1.Marshal(tc.params)
		if err != nil {
			t.Fatal(tc.name, err)
		}
		a := pkix.AlgorithmIdentifier{Algorithm: oidPBES2, Parameters: asn1.RawValue{FullBytes: der}}
		if plain, err := decryptPBES2(a, tc.ciphertext, "secret"); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: decryptPBES2 = %x, %v; want %q", tc.name, plain, err, tc.want)
		}
	}
}

// TestServerCAs reads a bundle with a root that Go refuses.
func TestServerCAs(t *testing.T) {
	t.Parallel()
	f := newFamily(t, newKey(t))
	bundle, err := os.ReadFile("testdata/server-ca-middle-negative.pem")
	if err != nil {
		t.Fatal(err)
	}
	var roots []*pem.Block
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		roots = append(roots, block)
	}
	negative := pem.EncodeToMemory(roots[1])
	var log bytes.Buffer
	f.write(t, "ca.pem", bundle)
	cfg := Config{
		CertFile: f.path("client.pem"), KeyFile: f.path("client.key"), ServerCAFile: f.path("ca.pem"),
		HalfRotationWait: -1, Log: slog.New(slog.NewTextHandler(&log, nil)),
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, i := range []int{0, 2} {
		cert, err := x509.ParseCertificate(roots[i].Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: c.state.Load().roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: cert.NotBefore.Add(time.Hour)}); err != nil {
			t.Errorf("root %d vouches for nothing: %v", i+1, err)
		}
	}
	got := c.Warnings()
	if len(got) != 1 || !strings.Contains(got[0], f.path("ca.pem")) || !strings.Contains(got[0], "certificate 2 is left out: its serial number is negative") {
		t.Errorf("Warnings() = %q, want one about the second certificate", got)
	}
	if log.Len() > 0 {
		t.Errorf("New logged %q; its caller has the warnings", &log)
	}

	// A reload logs the warnings, since no caller reads them then.
	f.write(t, "ca.pem", append(f.root.certPEM(), negative...))
	if err := c.Check(); err != nil || c.Reloads() != 1 {
		t.Fatalf("Check() = %v with %d reloads, want nil and 1", err, c.Reloads())
	}
	if got := log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "certificate 2 is left out") {
		t.Errorf("the reload logged %q, want a warning about the second certificate", got)
	}
	f.write(t, "ca.pem", f.root.certPEM())
	if err := c.Check(); err != nil || len(c.Warnings()) > 0 {
		t.Errorf("Check() = %v and Warnings() = %q, want neither", err, c.Warnings())
	}

	f.write(t, "ca.pem", negative)
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "holds no PEM certificate that can be used") || !strings.Contains(err.Error(), "negative") {
		t.Errorf("Check() with no usable root = %v", err)
	}
}
