package connect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
)

// loginOf are the options that a context's credentials give.
func loginOf(t *testing.T, text string, args ...string) (nats.Options, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var o nats.Options
	opts, err := checkContext(settingsOf(t, append(args, "--context", file), nil), new(config.Scrubber))
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			t.Fatal(err)
		}
	}
	return o, err
}

// A user JWT and its seed have no keys: a context holds them.
func TestContextWithJWT(t *testing.T) {
	t.Parallel()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	o, err := loginOf(t, `{"user_jwt": "j", "user_seed": "`+string(seed)+`"}`)
	if err != nil {
		t.Fatal(err)
	}
	if jwt, err := o.UserJWT(); jwt != "j" || err != nil {
		t.Errorf("the JWT is %q, %v", jwt, err)
	}
	if signature, err := o.SignatureCB([]byte("nonce")); err != nil || pair.Verify([]byte("nonce"), signature) != nil {
		t.Errorf("the server's nonce is not signed with the seed: %v", err)
	}
	// A bearer's JWT needs no signature.
	if o, err = loginOf(t, `{"user_jwt": "j"}`); err != nil {
		t.Fatal(err)
	}
	if signature, err := o.SignatureCB([]byte("nonce")); len(signature) > 0 || err != nil {
		t.Errorf("got %q, %v", signature, err)
	}
}

// Each field that nats context add can fill with a reference is refused by the name of the
// reference's form, and never quoted.
func TestContextForms(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"creds", "nkey", "user_jwt", "user_seed", "token", "password"} {
		for form, value := range map[string]string{
			"data:": "data:;base64,aHVzaGh1c2g=", "env://": "env://HUSH", "file://": "file:///hush/x", "nsc://": "nsc://hush/a/u", "op://": "op://hush/item",
		} {
			for _, value := range []string{value, strings.ToUpper(form) + strings.TrimPrefix(value, form)} {
				_, err := loginOf(t, `{"url": "nats://127.0.0.1:1", "`+field+`": "`+value+`"}`)
				if err == nil || !strings.Contains(err.Error(), field+" has the form "+form+"…, which the worker does not support") {
					t.Errorf("%s %s: got %v", field, value, err)
				} else if strings.Contains(strings.ToLower(err.Error()), "hush") || strings.Contains(err.Error(), "aHVzaGh1c2g") {
					t.Errorf("%s %s is quoted: %v", field, value, err)
				}
			}
		}
	}
}

func TestContextMistakes(t *testing.T) {
	t.Parallel()
	creds, _ := credsWith(t, "jwt")
	for name, tc := range map[string]struct {
		text, want string // "" for none
		args       []string
	}{
		"credentials by path":     {text: `{"creds": "` + creds + `"}`},
		"absent credentials":      {text: `{"creds": "/absent/x"}`, want: "creds names a file that cannot be used: no such file or directory"},
		"unused credentials":      {text: `{"creds": "op://x", "nsc": "nsc://o/a/u"}`, args: []string{"--token", "t"}},
		"fetched by nsc":          {text: `{"nsc": "nsc://o/a/u"}`, want: "nsc, which runs the nsc command, is not supported"},
		"an embedded seed":        {text: `{"user_jwt": "j", "user_seed": "data:;base64,eA=="}`, want: "user_seed has the form data:…"},
		"a token from 1Password":  {text: `{"token": "op://vault/item"}`, want: "token has the form op://…"},
		"an absent authority":     {text: `{"ca": "/absent/ca"}`, want: "ca names a file that cannot be read: no such file"},
		"no JSON":                 {text: `creds`, want: "is not JSON"},
		"a number as credentials": {text: `{"creds": 17}`, want: "a value such as url or creds is not text"},
	} {
		_, err := loginOf(t, tc.text, tc.args...)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		case err != nil && strings.Contains(err.Error(), "absent/"):
			t.Errorf("%s: quotes a path: %v", name, err)
		}
	}
}
