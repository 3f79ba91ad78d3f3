package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// signed keeps signatures of heads apart from signatures of any other content.
const signed = "entrust audit head\n"

// Key signs heads. Its String method does not reveal it.
type Key struct{ private ed25519.PrivateKey }

// ReadKey reads an ed25519 private key as PEM of PKCS#8, the form that `openssl genpkey
// -algorithm ed25519` writes. The error holds no part of the file.
func ReadKey(path string) (*Key, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if private, ok := any.(ed25519.PrivateKey); ok && err == nil {
		return &Key{private}, nil
	}
	return nil, fmt.Errorf("reading the audit key %s: not an ed25519 private key in PKCS#8; make one with openssl genpkey -algorithm ed25519", path)
}

// ReadPublicKey reads the public key as PEM, the form that `openssl pkey -pubout` writes.
func ReadPublicKey(path string) (ed25519.PublicKey, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	any, err := x509.ParsePKIXPublicKey(block.Bytes)
	if public, ok := any.(ed25519.PublicKey); ok && err == nil {
		return public, nil
	}
	return nil, fmt.Errorf("reading the audit key %s: not an ed25519 public key; make one with openssl pkey -pubout", path)
}

func readPEM(path string) (*pem.Block, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the audit key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("reading the audit key %s: %w", path, errors.New("not PEM"))
	}
	return block, nil
}

// String returns the key's ID, so that logs and errors never hold the key.
func (k *Key) String() string { return "audit key " + k.ID() }

// ID returns the first 16 hexadecimal digits of the SHA-256 of the public key. Heads name
// the key by it.
func (k *Key) ID() string { return KeyID(k.Public()) }

// Public returns the public key.
func (k *Key) Public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// KeyID returns the ID of a public key. See Key.ID.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:8])
}

func (k *Key) sign(body []byte) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, append([]byte(signed), body...)))
}

func verify(public ed25519.PublicKey, body []byte, signature string) bool {
	raw, err := base64.StdEncoding.DecodeString(signature)
	return err == nil && ed25519.Verify(public, append([]byte(signed), body...), raw)
}
