package mtlscache

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestChangeWithinATick changes a file again right after it was read, so soon that its
// file time stays the same. The test replaces the old marks by those of the new
// content, as a file system with coarse times would show them.
func TestChangeWithinATick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "both.pem")
		write := func() {
			t.Helper()
			if err := os.WriteFile(path, selfSigned(t), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write()
		c, err := New(Config{CertFile: path, KeyFile: path})
		if err != nil {
			t.Fatal(err)
		}

		write()
		missed := *c.state.Load()
		if missed.marks, err = c.files.marks(); err != nil {
			t.Fatal(err)
		}
		c.state.Store(&missed)

		time.Sleep(stampTick - 1)
		if err := c.Check(); err != nil || c.Reloads() != 0 {
			t.Fatalf("Check() = %v with %d reloads, want nil and 0: the change shows in nothing", err, c.Reloads())
		}
		time.Sleep(time.Nanosecond)
		if err := c.Check(); err != nil || c.Reloads() != 1 {
			t.Fatalf("Check() = %v with %d reloads after a tick, want nil and 1", err, c.Reloads())
		}

		// The last content is young too, until it was compared.
		time.Sleep(stampTick)
		if err := c.Check(); err != nil || c.Reloads() != 1 {
			t.Fatalf("Check() = %v with %d reloads, want nil and still 1", err, c.Reloads())
		}
		if s := c.state.Load(); !s.compareAt.IsZero() {
			t.Errorf("content would be compared again at %v, though nothing changed", s.compareAt)
		}
	})
}

// TestRotationAfterAFailedLook begins a rotation long after a Look that failed although
// the files were unchanged, as when no file descriptor is left. The rotation has the
// full wait.
func TestRotationAfterAFailedLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "both.pem")
		if err := os.WriteFile(path, selfSigned(t), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{CertFile: path, KeyFile: path})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
		same := *c.state.Load()
		if same.marks, err = c.files.marks(); err != nil {
			t.Fatal(err)
		}
		c.state.Store(&same)
		if err := c.Look(); err == nil {
			t.Fatal("Look() read a directory")
		}

		time.Sleep(time.Hour)
		if err := errors.Join(os.Remove(path), os.WriteFile(path, selfSigned(t)[:100], 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err != nil {
			t.Errorf("the rotation has just begun: Check() = %v, want the old pair", err)
		}
		time.Sleep(defaultHalfRotationWait)
		if err := c.Check(); err == nil {
			t.Error("the rotation never ended: Check() = nil")
		}
	})
}

// selfSigned returns a certificate and its key in one PEM text.
func selfSigned(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})...)
}
