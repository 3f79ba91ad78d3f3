package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

// TestConfigurationDocument keeps docs/configuration.md what the struct says. Run
//
//	go test ./cmd/entrust-worker/config -run TestConfigurationDocument -update
//
// after changing the struct.
func TestConfigurationDocument(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "..", "docs", "configuration.md")
	want := configurationDocument()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the struct says; run this test with -update", path)
	}
}

func configurationDocument() string {
	var b strings.Builder
	b.WriteString(`# Configuration

Made from the package ` + "`cmd/entrust-worker/config`" + `; do not edit.

The worker reads its configuration in four layers. A later layer overrides an earlier one: the defaults below, a
YAML file, the environment, flags. ` + "`--config`" + ` or ` + "`ENTRUST_WORKER_CONFIG`" + ` names the file.

Unknown keys are errors in every layer. So are unknown variables that begin with ` + "`ENTRUST_WORKER_`" + ` or
` + "`CERTCTL_ENTRUST_`" + `. An empty variable counts as unset. The exception is ` + "`ENTRUST_WORKER_HTTP_ADDR`" + `: empty, it turns
HTTP off. Durations have units (` + "`30s`, `5m`, `24h`" + `). Put text in quotes where YAML would read a number or a date. In
the file a dot is a level:

` + "```yaml" + `
gateway:
  url: https://gateway.example/cagw
  ca_id: ca-1
ack_wait: 2m
` + "```" + `

` + "`entrust-worker config`" + ` prints the effective values and where each came from. It redacts secrets. No error holds
the value of a credential setting, nor the path of a credential file.

Each secret can come from a file. ` + "`NATS_PASSWORD_FILE`, `--password-file` and `nats.password_file`" + ` name a file
with the password. The worker removes a newline at its end.

Settings without a key here come from a context of the nats command (` + "`NATS_CONTEXT`" + `): a user JWT with its seed, a
SOCKS proxy, a prefix of the JetStream API, TLS first. Credentials in a context are plain text or paths. The worker
refuses embedded or fetched forms by name: ` + "`data:`, `env://`, `file://`, `nsc://`, `op://`" + ` and ` + "`nsc`" + `.
`)
	titles := map[string]string{
		"gateway": "Gateway", "nats": "NATS", "poll": "Polling of parked orders", "policy": "Policy", "audit": "Audit trail", "streams": "Streams",
		"log": "Log", "http": "HTTP", "": "The worker",
	}
	defaults := reflect.ValueOf(Default())
	last := "none"
	for _, k := range Keys() {
		group, _, nested := strings.Cut(k.Path, ".")
		if !nested {
			group = ""
		}
		if group != last {
			fmt.Fprintf(&b, "\n## %s\n\n| key | default | environment | flag | effect |\n|---|---|---|---|---|\n", titles[group])
			last = group
		}
		def := format(defaults.FieldByIndex(k.index))
		if def != "" {
			def = "`" + def + "`"
		}
		name := "--" + k.Flag
		if k.short != "" {
			name += ", -" + k.short
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | `%s` | %s |\n", k.Path, def, k.Env, name, k.Doc)
	}
	return b.String()
}
