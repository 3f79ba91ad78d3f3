package contract

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// A client with a key signs what it submits, as the policy wants it. One of an operator
// publishes unsigned, on the operator's subject.
func TestClientSigns(t *testing.T) {
	t.Parallel()
	key := &entrustbus.SigningKey{ID: "shop-1", Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))}
	public := base64.StdEncoding.EncodeToString(key.Key.Public().(ed25519.PublicKey))
	p, err := policy.Parse([]byte("producers: {shop: {kinds: [cancel], signatures: {keys: {shop-1: " + public + "}}}}"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBus(t, entrustbus.ClientConfig{Sign: key})
	operator := newClient(t, b.server, entrustbus.ClientConfig{Operator: true, Sign: key})
	request := &entrustbus.Cancel{ID: "a", Order: "b"}
	if _, err := b.client.Submit(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	m, err := streams.Last(t.Context(), b.js, "ENTRUST_REQUESTS", "entrust.request.shop.cancel")
	if err != nil {
		t.Fatal(err)
	}
	message := policy.Message{
		Subject: m.Subject, ID: "a", Body: m.Data, Published: m.Time, Signature: m.Header.Get(entrustbus.HeaderSignature),
		KeyID: m.Header.Get(entrustbus.HeaderKeyID), SignedAt: m.Header.Get(entrustbus.HeaderSignedAt),
	}
	if v := p.Judge(policy.Request{Producer: "shop", Body: request, Message: message}); v.Denial != nil {
		t.Errorf("what the client signed: %v", v.Denial)
	}
	message.Published = m.Time.Add(time.Hour)
	if v := p.Judge(policy.Request{Producer: "shop", Body: request, Message: message}); v.Denial == nil {
		t.Error("its time does not count")
	}
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
