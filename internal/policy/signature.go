package policy

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Signatures names the keys that must sign the requests of a producer.
type Signatures struct {
	// Keys are ed25519 public keys in base64, by their id. A value is the 32 bytes of the
	// key or its SubjectPublicKeyInfo, which is the body of a PEM file.
	Keys map[string]string `yaml:"keys,omitempty"`
	// Window bounds the time between the signing and the store time of a request, in both
	// directions. 0: DefaultWindow.
	Window Span `yaml:"window,omitempty"`
}

// DefaultWindow is the Window of Signatures without one.
const DefaultWindow = 15 * time.Minute

// Message is a request as it was published.
type Message struct {
	// Subject is the subject that the producer published to, even if the request came on
	// another one.
	Subject string
	ID      string
	Body    []byte
	// Signature, KeyID and SignedAt are the values of its headers, "" for absent headers.
	Signature, KeyID, SignedAt string
	// Published is when the server first stored it. Zero: its age is not checked.
	Published time.Time
	// Unsigned says that it needs no signature, because an operator published it.
	Unsigned bool
}

// spkiPrefix begins the SubjectPublicKeyInfo of every ed25519 key (RFC 8410).
const spkiPrefix = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"

func (r *rules) compileSignatures(from Rules) error {
	s := from.Signatures
	switch {
	case s == nil:
		return nil
	case len(s.Keys) == 0:
		return errors.New("signatures.keys: has no key, so no request could be signed; leave out signatures if requests need none")
	}
	r.window, r.signers = time.Duration(s.Window), map[string]ed25519.PublicKey{}
	if r.window == 0 {
		r.window = DefaultWindow
	}
	for _, id := range slices.Sorted(maps.Keys(s.Keys)) {
		if !entrustbus.ValidToken(id) {
			return ruleError("signatures.keys", id, "cannot be the id of a key; use 1 to 64 letters, digits, _ and -")
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s.Keys[id]))
		if rest, ok := bytes.CutPrefix(key, []byte(spkiPrefix)); ok {
			key = rest
		}
		if err != nil || len(key) != ed25519.PublicKeySize {
			return ruleError("signatures.keys", id, "is not an ed25519 public key in base64; openssl pkey -pubout prints one")
		}
		r.signers[id] = key
	}
	return nil
}

// CheckWindows returns an error if a signed request could be published again after its
// ledger record expired: it would count a second time. The signature may be one window
// ahead of the first publication, and the second publication one window behind the
// signature.
func (p *Policy) CheckWindows(ledgerAge time.Duration) error {
	for _, producer := range p.Producers() {
		if w := p.producers[producer].window; 2*w >= ledgerAge {
			return fmt.Errorf("reading the policy of producer %q: signatures.window: must be below half of streams.orders_max_age: %s !< %s / 2", producer, w, ledgerAge)
		}
	}
	return nil
}

// MustSign reports whether the requests of a producer must be signed.
func (p *Policy) MustSign(producer string) bool {
	r, ok := p.producers[producer]
	return ok && len(r.signers) > 0
}

// sign checks the signature.
func (j *judgement) sign(m Message) {
	const rule = "signatures"
	if len(j.signers) == 0 || m.Unsigned {
		return
	}
	if m.Signature == "" {
		j.ask(false, rule, "no signature", "header "+entrustbus.HeaderSignature)
		return
	}
	key, ok := j.signers[m.KeyID]
	if !ok {
		j.ask(false, rule, m.KeyID, "header "+entrustbus.HeaderKeyID)
		return
	}
	at, err := time.Parse(time.RFC3339Nano, m.SignedAt)
	if err != nil {
		j.ask(false, rule, m.SignedAt, "header "+entrustbus.HeaderSignedAt+", which must be a time as RFC 3339 writes it")
		return
	}
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil || !ed25519.Verify(key, entrustbus.SignedText(m.Subject, m.ID, m.SignedAt, m.Body), signature) {
		j.ask(false, rule, "a signature that is not of this request by this key", "header "+entrustbus.HeaderSignature)
		return
	}
	fresh := m.Published.IsZero() || m.Published.Sub(at).Abs() <= j.window
	j.ask(fresh, rule, m.SignedAt, fmt.Sprintf("header %s, which must be within %s of the publication", entrustbus.HeaderSignedAt, j.window))
}
