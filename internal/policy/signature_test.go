package policy

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// signingKey returns the n-th key of the tests.
func signingKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

// raw and spki return the two forms of a public key in a policy.
func raw(n byte) string {
	return base64.StdEncoding.EncodeToString(signingKey(n).Public().(ed25519.PublicKey))
}

func spki(t *testing.T, n byte) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(signingKey(n).Public())
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// TestSignatures has each possible defect of a message, with and without it.
func TestSignatures(t *testing.T) {
	t.Parallel()
	p, err := Parse([]byte(fmt.Sprintf(`producers:
  shop: {kinds: [cancel], signatures: {keys: {old: %s, new: %s}, window: 10m}}
  plain: {kinds: [cancel]}
`, raw(1), spki(t, 2))))
	if err != nil {
		t.Fatal(err)
	}
	signed := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	const subject, body = "entrust.request.shop.cancel", `{"id":"a","order":"b"}`
	message := func(id string, key byte) Message {
		k := entrustbus.SigningKey{ID: id, Key: signingKey(key)}
		h := k.Sign(subject, "a", signed, []byte(body))
		return Message{
			Subject: subject, ID: "a", Body: []byte(body), Published: signed.Add(time.Second),
			Signature: h[entrustbus.HeaderSignature], KeyID: h[entrustbus.HeaderKeyID], SignedAt: h[entrustbus.HeaderSignedAt],
		}
	}
	for _, tt := range []struct {
		name     string
		producer string // "" means shop
		message  Message
		change   func(*Message)
		where    string // "" if it is allowed
	}{
		{name: "signed", message: message("old", 1)},
		{name: "by the next key", message: message("new", 2)},
		{name: "unsigned, where nothing need be", producer: "plain"},
		{name: "an operator's own words", message: Message{Unsigned: true}},
		{name: "at the end of the window", message: message("old", 1), change: func(m *Message) { m.Published = signed.Add(10 * time.Minute) }},
		{name: "ahead of the server's clock", message: message("old", 1), change: func(m *Message) { m.Published = signed.Add(-10 * time.Minute) }},
		{name: "an operator repeats it later", message: message("old", 1), change: func(m *Message) { m.Published = time.Time{} }},

		{name: "unsigned", message: message("old", 1), change: func(m *Message) { m.Signature = "" }, where: entrustbus.HeaderSignature},
		{name: "nothing at all", where: entrustbus.HeaderSignature},
		{name: "too old", message: message("old", 1), change: func(m *Message) { m.Published = signed.Add(10*time.Minute + time.Second) }, where: entrustbus.HeaderSignedAt},
		{name: "too far ahead", message: message("old", 1), change: func(m *Message) { m.Published = signed.Add(-10*time.Minute - time.Second) }, where: entrustbus.HeaderSignedAt},
		{name: "by another key under its id", message: message("old", 2), where: entrustbus.HeaderSignature},
		{name: "by its key under another id", message: message("new", 1), where: entrustbus.HeaderSignature},
		{name: "an unknown id", message: message("older", 1), where: entrustbus.HeaderKeyID},
		{name: "no id", message: message("old", 1), change: func(m *Message) { m.KeyID = "" }, where: entrustbus.HeaderKeyID},
		{name: "for another subject", message: message("old", 1), change: func(m *Message) { m.Subject = "entrust.request.shop.revoke" }, where: entrustbus.HeaderSignature},
		{name: "for another id", message: message("old", 1), change: func(m *Message) { m.ID = "b" }, where: entrustbus.HeaderSignature},
		{name: "another body", message: message("old", 1), change: func(m *Message) { m.Body = append([]byte(" "), m.Body...) }, where: entrustbus.HeaderSignature},
		{name: "another time", message: message("old", 1), change: func(m *Message) { m.SignedAt = "2026-11-29T12:00:01Z" }, where: entrustbus.HeaderSignature},
		{name: "the same time in other words", message: message("old", 1), change: func(m *Message) { m.SignedAt = "2026-11-29T12:00:00.0Z" }, where: entrustbus.HeaderSignature},
		{name: "no time", message: message("old", 1), change: func(m *Message) { m.SignedAt = "" }, where: entrustbus.HeaderSignedAt},
		{name: "a time with a line more", message: message("old", 1), change: func(m *Message) { m.SignedAt += "\n" }, where: entrustbus.HeaderSignedAt},
		{name: "no base64", message: message("old", 1), change: func(m *Message) { m.Signature = "?" }, where: entrustbus.HeaderSignature},
		{name: "a short signature", message: message("old", 1), change: func(m *Message) { m.Signature = "AAAA" }, where: entrustbus.HeaderSignature},
	} {
		m := tt.message
		if tt.change != nil {
			tt.change(&m)
		}
		producer := tt.producer
		if producer == "" {
			producer = "shop"
		}
		q := Request{Producer: producer, Body: &entrustbus.Cancel{ID: "a", Order: "b"}, Message: m}
		got := p.Judge(q).Denial
		switch {
		case tt.where == "" && got != nil:
			t.Errorf("%s: refused: %v", tt.name, got)
		case tt.where != "" && (got == nil || got.Rule != "signatures" || !strings.HasPrefix(got.Where, "header "+tt.where)):
			t.Errorf("%s: %v, want a refusal for %s", tt.name, got, tt.where)
		}
	}
	if !p.MustSign("shop") || p.MustSign("plain") || p.MustSign("other") {
		t.Error("who must sign is told wrong")
	}
}

// Parse refuses signatures that no request could have, and names the defect.
func TestSignaturesThatAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{}":                                "signatures.keys: has no key",
		"{window: 5m}":                      "signatures.keys: has no key",
		"{keys: {a b: " + raw(1) + "}}":     "cannot be the id of a key",
		"{keys: {a: AAAA}}":                 "is not an ed25519 public key in base64",
		"{keys: {a: '" + raw(1) + "=?'}}":   "is not an ed25519 public key in base64",
		"{keys: {a: " + raw(1) + "}, w: 1}": "field w not found",
	} {
		_, err := Parse([]byte("producers: {shop: {signatures: " + text + "}}"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), raw(1)) {
			t.Errorf("%s: the error holds a key: %v", text, err)
		}
	}
}

// A request that is published again after its ledger record expired must be outside of
// the window. The producer's clock may have been a window ahead.
func TestWindowsEndBeforeTheLedgerForgets(t *testing.T) {
	t.Parallel()
	for window, ok := range map[string]bool{"": true, "window: 10h59m,": true, "window: 12h,": false, "window: 20d,": false} {
		p, err := Parse([]byte("producers: {shop: {signatures: {" + window + "keys: {a: " + raw(1) + "}}}, plain: {}}"))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CheckWindows(24 * time.Hour); (err == nil) != ok {
			t.Errorf("%q: %v", window, err)
		}
	}
}
