package entrustbus

import (
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"time"
)

// Headers of a signed request. A policy of the worker says which producers must sign, and with which keys.
const (
	HeaderSignature = "Entrust-Signature" // ed25519, in base64
	HeaderKeyID     = "Entrust-Key-Id"    // the id of the key in the policy
	HeaderSignedAt  = "Entrust-Signed-At" // when it was signed, RFC 3339
)

// signedVersion begins the signed text, so that no signature of another text counts.
const signedVersion = "entrust-request-v1"

// SignedText is the text that the signature of a request covers: four lines, each ended by a line feed, then the body as it
// is published. The lines are "entrust-request-v1", the subject that the producer publishes to, the id of the request, and the
// time as HeaderSignedAt has it. None of the four can hold a line feed.
func SignedText(subject, id, signedAt string, body []byte) []byte {
	return slices.Concat([]byte(signedVersion+"\n"+subject+"\n"+id+"\n"+signedAt+"\n"), body)
}

// SigningKey is the private key that a producer signs its requests with. It is safe for concurrent use.
type SigningKey struct {
	// ID is the key's id in the policy of the worker: [A-Za-z0-9_-]{1,64}.
	ID string
	// Key never leaves the process.
	Key ed25519.PrivateKey
}

// Validate reports a key that cannot sign, as a *FieldError.
func (k *SigningKey) Validate() error {
	if !ValidToken(k.ID) {
		return errToken("key id")
	}
	if len(k.Key) != ed25519.PrivateKeySize {
		return &FieldError{Field: "key", Problem: "is not an ed25519 private key"}
	}
	return nil
}

// Sign returns the headers that sign a request, by name: a body that is published to subject under an id, at an instant of
// the producer's clock. The worker compares that with the time at which NATS stored the request. The key must be valid.
func (k *SigningKey) Sign(subject, id string, at time.Time, body []byte) map[string]string {
	signedAt := at.UTC().Format(time.RFC3339)
	signature := ed25519.Sign(k.Key, SignedText(subject, id, signedAt, body))
	return map[string]string{
		HeaderSignature: base64.StdEncoding.EncodeToString(signature),
		HeaderKeyID:     k.ID,
		HeaderSignedAt:  signedAt,
	}
}
