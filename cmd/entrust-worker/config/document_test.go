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

## Secrets from files

These secrets are values. Each has a second form that names a file with the value. The worker removes a newline at the
end of the file. If both forms are set, the worker does not start.

| secret | key of the file's path | environment | flag |
|---|---|---|---|
`)
	for _, k := range KeysAndForms() {
		if k.fileOf != "" {
			fmt.Fprintf(&b, "| `%s` | `%s` | `%s` | `--%s` |\n", k.fileOf, k.Path, k.Env, k.Flag)
		}
	}
	b.WriteString(`
The other secrets are files anyway, and their settings are paths:

`)
	for _, k := range Keys() {
		if k.secret == "file" {
			fmt.Fprintf(&b, "- `%s`\n", k.Path)
		}
	}
	b.WriteString(`
## Settings of the whole fleet

Every worker takes any request. Where workers have different settings, the result depends on which worker takes it.
Give these settings the same values in every worker:

| setting | if it differs |
|---|---|
| ` + "`streams.prefix`" + ` | the workers do not see each other's requests. Producers need the same prefix |
| ` + "`ack_wait`, `streams.results_max_age`, `streams.orders_max_age`, `streams.dead_max_age`" + ` | a worker whose value is not that of the streams and consumers does not start |
| ` + "`gateway.fleet_rate`" + ` | each worker divides its own value by the number of live workers, so the sum is not the rate that you set |
| ` + "`gateway.url`, `gateway.ca_id`, `gateway.profile_id`, `gateway.dialect`, `gateway.properties`" + ` | the same request goes to another gateway, CA or profile |
| ` + "`gateway.approval`, `gateway.event_delay`, `gateway.enroll_timeout`, `on_lost_reply`, `on_rollback`, `rollback_window`" + ` | one worker enrolls again where another one holds the order |
| ` + "`poll.*`, `submit_max_wait`" + ` | orders end, or are polled, at different times |
| ` + "`policy.file`, `audit.enabled`" + ` | one worker allows or records what another one does not |
| ` + "`format`" + ` | raise it only when every worker reads the new format |

These may differ: concurrency, ` + "`gateway.rate`, `drain`, `log.*`, `http.*`, `state_dir`" + `, paths of files, and NATS
credentials.

To change ` + "`ack_wait`" + `, a rolling restart is not enough, since provisioning never changes existing consumers:

1. Stop all workers. Requests wait in their stream.
2. Set the new value in every worker. ` + "`entrust-worker check --json`" + ` then fails, and prints the command that changes each
   consumer: ` + "`nats consumer edit <stream> <consumer> --wait=3m0s`" + `. Run these commands as an operator.
3. Run ` + "`entrust-worker check`" + ` again, and start the workers.

To change a ` + "`…_max_age`" + ` of an existing stream, do the same: the command is ` + "`nats stream edit <stream> --max-age=…`" + `.

## A context of the nats command

Settings without a key here come from a context of the nats command (` + "`NATS_CONTEXT`" + `): a user JWT with its seed, a
SOCKS proxy, a prefix of the JetStream API, TLS first. Credentials in a context are plain text or paths. The worker
refuses embedded or fetched forms by name: ` + "`data:`, `env://`, `file://`, `nsc://`, `op://`" + ` and ` + "`nsc`" + `.

## Words

| word | means |
|---|---|
| dialect | the API that the gateway speaks: ` + "`cagw`" + `, which Entrust's own clients use, or ` + "`certctl`" + `, which certctl's connector uses |
| lane | one kind of work, such as issuing or polling, with its own number of calls at once |
| parked order | an order that waits for approval or for another try |
| wake-up | the message schedule in NATS that ends the wait of a parked order |
| order lease | the time that a worker has for a submission |
| ledger | the bucket with one record for each order, which workers share |
| generation | one life of an order. A replay by an operator begins the next |
| dead letter | a message with a request that needs an operator, and the reason |
| ` + "`possible_duplicate`" + ` | a key of the result: the gateway may hold a second order for the request |
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
