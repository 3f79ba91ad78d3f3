package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestLooseFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, env string
		mode      fs.FileMode
		want      string
	}{
		{"a key of its own user", "CERTCTL_ENTRUST_CLIENT_KEY_PATH", 0o600, ""},
		{"a key that the group reads, as in Kubernetes", "CERTCTL_ENTRUST_CLIENT_KEY_PATH", 0o440, ""},
		{"a key that all users can read", "CERTCTL_ENTRUST_CLIENT_KEY_PATH", 0o644, "gateway.client_key_path names a file that other users can read (mode 0644); chmod 600 it"},
		{"a key that the group changes", "CERTCTL_ENTRUST_CLIENT_KEY_PATH", 0o660, "can change (mode 0660)"},
		{"NATS credentials", "NATS_CREDS", 0o604, "nats.creds names a file"},
		{"a token by file", "NATS_TOKEN_FILE", 0o644, "nats.token_file names a file"},
		{"the token of the status page by file", "ENTRUST_WORKER_HTTP_TOKEN_FILE", 0o644, "http.token_file names a file"},
		{"a certificate is no secret", "CERTCTL_ENTRUST_CLIENT_CERT_PATH", 0o666, ""},
		{"a policy that all users can read", "ENTRUST_WORKER_POLICY_FILE", 0o644, ""},
		{"a policy that all users can change", "ENTRUST_WORKER_POLICY_FILE", 0o666, "policy.file names a file that other users can change (mode 0666); chmod 644 it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "planted-name")
			if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			AddFlags(flags)
			s, err := NewLoader([]string{tc.env + "=" + path}).Load(flags)
			if err != nil && s == nil {
				t.Fatal(err)
			}
			got := strings.Join(s.LooseFiles(), "\n")
			if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) || strings.Contains(got, "planted-name") {
				t.Errorf("got %q, want %q in it, and no path", got, tc.want)
			}
		})
	}
}
