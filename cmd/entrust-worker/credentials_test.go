package main

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// connectOptions are what nats.go makes of a configuration, on top of a context that has
// credentials of every kind.
func connectOptions(t *testing.T, args, environ []string) (nats.Options, error) {
	t.Helper()
	s, err := loadConfig(parsed(t, args...), environ)
	if err != nil {
		return nats.Options{}, err
	}
	opts, err := s.natsOptions()
	if err != nil {
		return nats.Options{}, err
	}
	o := nats.GetDefaultOptions()
	o.Servers = []string{"nats://u:p@h:1"}
	o.User, o.Password, o.Token, o.Nkey = "u", "p", "t", "n"
	o.UserJWT, o.SignatureCB = func() (string, error) { return "context", nil }, func([]byte) ([]byte, error) { return nil, nil }
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return o, err
		}
	}
	return o, nil
}

func TestJWT(t *testing.T) {
	t.Parallel()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	o, err := connectOptions(t, []string{"--jwt", "j"}, []string{"NATS_SEED=" + string(seed), "NATS_TOKEN=t"})
	if err != nil {
		t.Fatal(err)
	}
	if jwt, err := o.UserJWT(); jwt != "j" || err != nil {
		t.Errorf("the JWT is %q, %v", jwt, err)
	}
	signature, err := o.SignatureCB([]byte("nonce"))
	if err != nil || pair.Verify([]byte("nonce"), signature) != nil {
		t.Errorf("the server's nonce is not signed with the seed: %v", err)
	}
	if o.User != "" || o.Password != "" || o.Token != "" || o.Nkey != "" || strings.Contains(o.Servers[0], "@") {
		t.Error("credentials of the context are left beside one's own")
	}

	// A bearer's JWT needs no signature.
	if o, err = connectOptions(t, []string{"--jwt", "j"}, nil); err != nil {
		t.Fatal(err)
	}
	if signature, err := o.SignatureCB([]byte("nonce")); len(signature) > 0 || err != nil {
		t.Errorf("got %q, %v", signature, err)
	}

	// Without any of one's own, the context's stay.
	if o, err = connectOptions(t, nil, nil); err != nil || o.Token != "t" || o.Servers[0] != "nats://u:p@h:1" {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestRedactedURLs(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"nats://127.0.0.1:4222":               "nats://127.0.0.1:4222",
		"h:1, nats://u:p@h:2":                 "h:1,nats://REDACTED@h:2",
		"u:se@cret@h:1":                       "nats://REDACTED@h:1",
		"tls://u:se/cr@et?x#y@h:1":            "tls://REDACTED@h:1",
		"nats://u:half,other@h:1":             "REDACTED,nats://REDACTED@h:1",
		"https://u:p@gateway.example/cagw/v1": "https://REDACTED@gateway.example/cagw/v1",
		"":                                    "",
	} {
		if got := redactedURLs(list); got != want {
			t.Errorf("%q is shown as %q, want %q", list, got, want)
		}
	}
}
