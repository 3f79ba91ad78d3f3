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
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

func signingKey() *entrustbus.SigningKey {
	return &entrustbus.SigningKey{ID: "shop-1", Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))}
}

// verify checks the headers of a signed request, by the words of the documentation.
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

// A client with a key signs what it submits; one of an operator publishes unsigned, on the
// operator's subject.
func TestClientSigns(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{Sign: signingKey()})
	operator := newClient(t, b.server, entrustbus.ClientConfig{Operator: true, Sign: signingKey()})
	since := time.Now()
	if _, err := b.client.Submit(t.Context(), &entrustbus.Cancel{ID: "a", Order: "b"}); err != nil {
		t.Fatal(err)
	}
	m, err := streams.Last(t.Context(), b.js, "ENTRUST_REQUESTS", "entrust.request.shop.cancel")
	if err != nil {
		t.Fatal(err)
	}
	verify(t, m.Header.Get, "entrust.request.shop.cancel", "a", m.Data, since)
	if _, err := operator.Submit(t.Context(), &entrustbus.Cancel{ID: "c", Order: "b"}); err != nil {
		t.Fatal(err)
	}
	if m, err = streams.Last(t.Context(), b.js, "ENTRUST_REQUESTS", "entrust.operator.shop.cancel"); err != nil {
		t.Fatal(err)
	}
	if m.Header.Get(entrustbus.HeaderSignature) != "" || m.Header.Get(entrustbus.HeaderOrderID) != "c" {
		t.Errorf("an operator's request has the headers %v", m.Header)
	}
}

func TestSigningKeysThatCannotSign(t *testing.T) {
	t.Parallel()
	for field, key := range map[string]*entrustbus.SigningKey{
		"key id": {ID: "a b", Key: signingKey().Key},
		"key":    {ID: "a", Key: signingKey().Key[:32]},
	} {
		_, err := entrustbus.New(nil, entrustbus.ClientConfig{Producer: "shop", Sign: key})
		if e, ok := errors.AsType[*entrustbus.FieldError](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// The Python example of the documentation signs as the Go client does.
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
		if exec.CommandContext(t.Context(), name, "-c", "import cryptography").Run() != nil {
			continue
		}
		cmd := exec.CommandContext(t.Context(), name, script, subject, "a", "shop-1", key)
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(body), &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, stderr.String())
		}
		headers := map[string]string{}
		for line := range strings.Lines(string(out)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			headers[name] = value
		}
		verify(t, func(name string) string { return headers[name] }, subject, "a", body, since)
		return
	}
	t.Skip("no python3 with the cryptography module here: install python3-cryptography to run this test")
}
