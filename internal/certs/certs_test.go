package certs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

func setup(t *testing.T) (*certs.Store, jetstream.JetStream) {
	t.Helper()
	js := testbed.Start(t).JetStream(t)
	if _, err := streams.Provision(t.Context(), js, streams.DefaultLayout()); err != nil {
		t.Fatal(err)
	}
	s := certs.New(js, "ENTRUST_CERTS")
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, js
}

var (
	shop = certs.Certificate{Producer: "shop", Order: "a", Key: "11"}
	web  = certs.Certificate{Producer: "web", Order: "b", Key: "22"}
)

// The first entry of a certificate stays, under its CA.
func TestFirstWriterKeepsACertificate(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	put := func(ca, serial string, c certs.Certificate) {
		t.Helper()
		if err := s.Put(t.Context(), ca, serial, c, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	put("CA one.*", "0a", shop)
	put("CA one.*", "0a", shop) // a repetition
	put("CA one.*", "0a", web)  // an order that adopted it
	put("CA two", "0a", web)
	for _, tc := range []struct {
		ca, serial string
		want       certs.Certificate
	}{
		{"CA one.*", "0a", shop}, {"CA one.*", "0A", shop}, {"CA two", "0a", web},
		{"CA one.*", "0b", certs.Certificate{}}, {"CA three", "0a", certs.Certificate{}},
	} {
		got, err := s.Get(t.Context(), tc.ca, tc.serial)
		if err != nil || got != tc.want {
			t.Errorf("%s of %q is %+v (%v), want %+v", tc.serial, tc.ca, got, err, tc.want)
		}
	}
}

// The server removes an entry when its certificate ends, and it can be written again.
func TestEntriesEndWithTheirCertificates(t *testing.T) {
	t.Parallel()
	s, js := setup(t)
	for serial, valid := range map[string]time.Duration{"0a": time.Millisecond, "0b": time.Hour, "0c": -time.Hour} {
		if err := s.Put(t.Context(), "ca", serial, shop, valid); err != nil {
			t.Fatal(err)
		}
	}
	if err := testbed.Until(t.Context(), "the end of a certificate's entry", func() (bool, error) {
		c, err := s.Get(t.Context(), "ca", "0a")
		return c == certs.Certificate{}, err
	}); err != nil {
		t.Fatal(err)
	}
	for serial, want := range map[string]certs.Certificate{"0b": shop, "0c": {}} {
		if got, err := s.Get(t.Context(), "ca", serial); err != nil || got != want {
			t.Errorf("%s is %+v (%v), want %+v", serial, got, err, want)
		}
	}
	if err := s.Put(t.Context(), "ca", "0a", web, 100*365*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "ca", "0a"); err != nil || got != web {
		t.Errorf("what was written over an ended entry is %+v (%v)", got, err)
	}
	kv, err := js.KeyValue(t.Context(), "ENTRUST_CERTS")
	if err != nil {
		t.Fatal(err)
	}
	status, err := kv.Status(t.Context())
	if err != nil || status.Values() != 2 {
		t.Errorf("the bucket holds %d entries (%v), want 2", status.Values(), err)
	}
}

// An entry that no worker can read has no owner.
func TestUnreadableEntryIsNobodys(t *testing.T) {
	t.Parallel()
	s, js := setup(t)
	if err := s.Put(t.Context(), "ca", "0a", shop, time.Hour); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "ENTRUST_CERTS")
	if err != nil {
		t.Fatal(err)
	}
	all, err := kv.Keys(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("keys are %q (%v)", all, err)
	}
	if _, err := kv.PutString(t.Context(), all[0], "shop"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "ca", "0a"); err != nil || got != (certs.Certificate{}) {
		t.Errorf("got %+v (%v)", got, err)
	}
}

// Names are kept as requests have them, within a bound.
func TestJoinNames(t *testing.T) {
	t.Parallel()
	long := entrustbus.SAN{Type: entrustbus.SANDNS, Value: strings.Repeat("a", 1025)}
	for want, names := range map[string][]entrustbus.SAN{
		"dns:a.example ip:192.0.2.1 email:a@b.example uri:https://a.example/x": {
			{Type: entrustbus.SANDNS, Value: "a.example"}, {Type: entrustbus.SANIP, Value: "192.0.2.1"},
			{Type: entrustbus.SANEmail, Value: "a@b.example"}, {Type: entrustbus.SANURI, Value: "https://a.example/x"},
		},
		"": {{Type: entrustbus.SANDNS, Value: "a.example"}, {Type: entrustbus.SANOther, DER: []byte{1}}},
	} {
		if got := certs.JoinNames(names); got != want {
			t.Errorf("%v is %q, want %q", names, got, want)
		}
	}
	if got := certs.JoinNames([]entrustbus.SAN{long}); got != "" {
		t.Errorf("names of %d bytes are kept", len(got))
	}
}
