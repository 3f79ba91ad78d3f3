package request

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// addSigning declares the flags of signed requests.
func (f *requestFlags) addSigning() {
	f.flags.StringVar(&f.keyFile, "signing-key", "", "sign with the ed25519 key in this `file`, PEM as openssl genpkey -algorithm ed25519 writes it")
	f.flags.StringVar(&f.keyID, "signing-key-id", "", "`id` of that key in the policy of the worker")
}

// readSigning reads the key that the flags name, if they do.
func (f *requestFlags) readSigning(t *terminal.Terminal) error {
	if err := usage.NoneEmpty(f.flags, "signing-key", "signing-key-id"); err != nil {
		return err
	}
	switch {
	case f.keyFile == "" && f.keyID == "":
		return nil
	case f.keyFile == "" || f.keyID == "":
		return usage.Errorf("--signing-key and --signing-key-id go together")
	case !entrustbus.ValidToken(f.keyID):
		return usage.Errorf("--signing-key-id must be 1 to 64 letters, digits, _ and -, is %q", f.keyID)
	}
	key, err := readKey(f.keyFile)
	if err != nil {
		return usage.WithHint(fmt.Errorf("reading the signing key %s: %w", f.keyFile, err), "openssl genpkey -algorithm ed25519 creates one")
	}
	if info, err := os.Stat(f.keyFile); err == nil && info.Mode().Perm()&0o077 != 0 {
		t.Notef("warning: other users can access %s, its mode is %04o; chmod 600 %s", f.keyFile, info.Mode().Perm(), f.keyFile)
	}
	f.sign = &entrustbus.SigningKey{ID: f.keyID, Key: key}
	return nil
}

// readKey reads a private key. Its errors hold nothing of the file.
func readKey(path string) (ed25519.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		err = file.Err // the message has the path
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("it holds no PEM block PRIVATE KEY; an encrypted key cannot be read")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the private key cannot be parsed")
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an ed25519 key")
	}
	return ed, nil
}
