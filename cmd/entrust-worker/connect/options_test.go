package connect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
)

// settingsOf loads a configuration.
func settingsOf(t *testing.T, args, environ []string) *config.Settings {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	s, err := config.NewLoader(environ).Bus(flags)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// optionsOf are what nats.go makes of a configuration, on top of a context that has
// credentials of every kind.
func optionsOf(t *testing.T, args ...string) nats.Options {
	t.Helper()
	opts, err := options(settingsOf(t, args, nil))
	if err != nil {
		t.Fatal(err)
	}
	o := nats.GetDefaultOptions()
	o.Servers = []string{"nats://u:p@h:1"}
	o.User, o.Password, o.Token, o.Nkey = "u", "p", "t", "n"
	o.UserJWT, o.SignatureCB = func() (string, error) { return "context", nil }, func([]byte) ([]byte, error) { return nil, nil }
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// credsWith writes a credentials file for a new user, and returns its path and the user.
func credsWith(t *testing.T, jwt string) (string, nkeys.KeyPair) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "user.creds")
	text := fmt.Sprintf("-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n", jwt, seed)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, pair
}

// The file is read on every connect, so that it can be replaced.
func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	path, pair := credsWith(t, "first")
	o := optionsOf(t, "--creds", path)
	if jwt, err := o.UserJWT(); jwt != "first" || err != nil {
		t.Errorf("the JWT is %q, %v", jwt, err)
	}
	signature, err := o.SignatureCB([]byte("nonce"))
	if err != nil || pair.Verify([]byte("nonce"), signature) != nil {
		t.Errorf("the server's nonce is not signed with the seed: %v", err)
	}
	if o.User != "" || o.Password != "" || o.Token != "" || o.Nkey != "" || strings.Contains(o.Servers[0], "@") {
		t.Error("credentials of the context are left beside the configured ones")
	}
	next, _ := credsWith(t, "second")
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	if jwt, err := o.UserJWT(); jwt != "second" || err != nil {
		t.Errorf("after a rotation the JWT is %q, %v", jwt, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := o.UserJWT(); err == nil || strings.Contains(err.Error(), path) {
		t.Errorf("the error of a reconnect quotes the path: %v", err)
	}
}

func TestNkeyFile(t *testing.T) {
	t.Parallel()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(path, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	o := optionsOf(t, "--nkey", path)
	signature, err := o.SignatureCB([]byte("nonce"))
	public, _ := pair.PublicKey()
	if err != nil || o.Nkey != public || pair.Verify([]byte("nonce"), signature) != nil {
		t.Errorf("nkey %q, %v; want %q and its signature", o.Nkey, err, public)
	}
}

// Without credentials in the configuration, the context's stay.
func TestContextKeepsItsCredentials(t *testing.T) {
	t.Parallel()
	if o := optionsOf(t); o.Token != "t" || o.Servers[0] != "nats://u:p@h:1" {
		t.Errorf("got %+v", o)
	}
}
