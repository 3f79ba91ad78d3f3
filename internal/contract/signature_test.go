package contract

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func signingKey() *entrustbus.SigningKey {
	return &entrustbus.SigningKey{ID: "shop-1", Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))}
}

// verify checks the headers of a signed request as the documentation describes.
func verify(t *testing.T, header func(string) string, subject, id string, body []byte, since time.Time) {
	t.Helper()
	signedAt := header(entrustbus.HeaderSignedAt)
	at, err := time.Parse(time.RFC3339, signedAt)
	if err != nil || at.Before(since.Truncate(time.Second)) || at.After(time.Now()) {
		t.Errorf("signed at %q (%v)", signedAt, err)
	}
	signature, err := base64.StdEncoding.DecodeString(header(entrustbus.HeaderSignature))
	if err != nil {
		t.Error(err)
	}
	text := "entrust-request-v1\n" + subject + "\n" + id + "\n" + signedAt + "\n" + string(body)
	if !ed25519.Verify(signingKey().Key.Public().(ed25519.PublicKey), []byte(text), signature) {
		t.Error("the signature does not fit")
	}
	if got := header(entrustbus.HeaderKeyID); got != "shop-1" {
		t.Errorf("the key id is %q", got)
	}
}

func TestSigningKeysThatCannotSign(t *testing.T) {
	t.Parallel()
	for field, key := range map[string]*entrustbus.SigningKey{
		"key id": {ID: "a b", Key: signingKey().Key},
		"key":    {ID: "a", Key: signingKey().Key[:32]},
	} {
		_, err := entrustbus.New(nil, entrustbus.ClientConfig{Producer: "shop", Sign: key})
		var e *entrustbus.FieldError
		if !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// The Python example of the documentation signs like the Go client.
func TestPythonSigns(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/producers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(page), "```python\n# sign.py ")
	example, _, ended := strings.Cut(example, "```")
	if !ok || !ended {
		t.Fatal("docs/producers.md has no sign.py")
	}
	dir := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(signingKey().Key)
	if err != nil {
		t.Fatal(err)
	}
	key, script := filepath.Join(dir, "key.pem"), filepath.Join(dir, "sign.py")
	for path, data := range map[string][]byte{
		script: []byte("# " + example), key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const subject = "entrust.request.shop.issue"
	body := []byte("a body\nof\x00any bytes")
	since := time.Now()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import cryptography").Run() != nil {
			continue
		}
		cmd := exec.Command(name, script, subject, "a", "shop-1", key)
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(body), &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, stderr.String())
		}
		headers := map[string]string{}
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			name, value, _ := strings.Cut(line, ":")
			headers[name] = value
		}
		verify(t, func(name string) string { return headers[name] }, subject, "a", body, since)
		return
	}
	t.Skip("no python3 with the cryptography module here: install python3-cryptography to run this test")
}
