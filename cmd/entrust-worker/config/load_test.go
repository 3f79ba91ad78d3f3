package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// The names that the contract fixes.
func TestFixedEnvironmentNames(t *testing.T) {
	t.Parallel()
	byEnv := map[string]string{}
	for _, k := range keys() {
		if other := byEnv[k.env]; other != "" {
			t.Errorf("%s and %s share the name %s", k.path, other, k.env)
		}
		byEnv[k.env] = k.path
	}
	for env, path := range map[string]string{
		"CERTCTL_ENTRUST_API_URL":               "gateway.url",
		"CERTCTL_ENTRUST_CLIENT_CERT_PATH":      "gateway.client_cert_path",
		"CERTCTL_ENTRUST_CLIENT_KEY_PATH":       "gateway.client_key_path",
		"CERTCTL_ENTRUST_CA_ID":                 "gateway.ca_id",
		"CERTCTL_ENTRUST_PROFILE_ID":            "gateway.profile_id",
		"CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS": "poll.max_wait",
		"ENTRUST_WORKER_GATEWAY_DIALECT":        "gateway.dialect",
		"ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH": "gateway.server_ca_path",
		"ENTRUST_WORKER_ON_LOST_REPLY":          "on_lost_reply",
		"ENTRUST_WORKER_ISSUE_CONCURRENCY":      "issue_concurrency",
		"ENTRUST_WORKER_REVOKE_CONCURRENCY":     "revoke_concurrency",
		"ENTRUST_WORKER_POLL_CONCURRENCY":       "poll_concurrency",
		"ENTRUST_WORKER_ACK_WAIT":               "ack_wait",
		"ENTRUST_WORKER_PROVISION":              "provision",
		"ENTRUST_WORKER_REPLICAS":               "replicas",
		"NATS_URL":                              "nats.url",
		"NATS_CREDS":                            "nats.creds",
		"NATS_CONTEXT":                          "nats.context",
		"NATS_NKEY":                             "nats.nkey",
		"NATS_USER":                             "nats.user",
		"NATS_PASSWORD":                         "nats.password",
		"NATS_TOKEN":                            "nats.token",
		"NATS_CERT":                             "nats.tls_cert",
		"NATS_KEY":                              "nats.tls_key",
		"NATS_CA":                               "nats.tls_ca",
		"NATS_TIMEOUT":                          "nats.timeout",
	} {
		if byEnv[env] != path {
			t.Errorf("%s sets %q, want %q", env, byEnv[env], path)
		}
	}
}

func TestEveryKeyIsComplete(t *testing.T) {
	t.Parallel()
	flags := map[string]string{}
	secrets := 0
	for _, k := range keys() {
		if !strings.HasSuffix(k.doc, ".") || strings.Contains(k.doc, "|") {
			t.Errorf("%s: its documentation must be sentences without bars: %q", k.path, k.doc)
		}
		if other := flags[k.flag]; other != "" {
			t.Errorf("%s and %s share the flag --%s", k.path, other, k.flag)
		}
		flags[k.flag] = k.path
		if strings.Contains(k.path, "password") && !strings.HasSuffix(k.path, "_file") && !k.secret {
			t.Errorf("%s is not marked as a secret", k.path)
		}
		if k.secret {
			secrets++
			if !hasKey(k.path + "_file") {
				t.Errorf("the secret %s has no form by file", k.path)
			}
		}
	}
	if secrets == 0 {
		t.Error("no secrets found")
	}
}

func hasKey(path string) bool {
	for _, k := range keys() {
		if k.path == path {
			return true
		}
	}
	return false
}

// A value that is printed can be given again, in every layer, and sets the field it
// was printed from.
func TestEveryKeyCanBeSetInEveryLayer(t *testing.T) {
	t.Parallel()
	other := map[reflect.Type]string{
		reflect.TypeFor[string]():        "elsewhere",
		reflect.TypeFor[int]():           "3",
		reflect.TypeFor[float64]():       "1.5",
		reflect.TypeFor[bool]():          "true",
		reflect.TypeFor[time.Duration](): "7m",
		reflect.TypeFor[Size]():          "3MiB",
		reflect.TypeFor[[]string]():      "ONE,TWO",
	}
	for _, k := range keys() {
		value := other[k.kind]
		if value == "" {
			t.Fatalf("no value for type %v", k.kind)
		}
		if strings.HasSuffix(k.path, "_file") { // read at once
			value = filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(value, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		inEnv := value
		if k.inSeconds {
			inEnv = "420"
		}
		yaml := k.path + ": " + value + "\n"
		if group, leaf, ok := strings.Cut(k.path, "."); ok {
			yaml = group + ":\n  " + leaf + ": " + value + "\n"
		}
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, load := range map[string]func() (*settings, error){
			"file " + file:     func() (*settings, error) { return loadConfig(parsed(t, "--config", file), nil) },
			"env " + k.env:     func() (*settings, error) { return loadConfig(parsed(t), []string{k.env + "=" + inEnv}) },
			"flag --" + k.flag: func() (*settings, error) { return loadConfig(parsed(t, "--"+k.flag+"="+value), nil) },
		} {
			s, err := load()
			if err != nil {
				t.Errorf("%s by %s: %v", k.path, name, err)
				continue
			}
			if got := format(reflect.ValueOf(s.Config).FieldByIndex(k.index)); got != value {
				t.Errorf("%s by %s is %q, want %q", k.path, name, got, value)
			}
			if s.origin[k.path] != name {
				t.Errorf("%s came from %q, want %q", k.path, s.origin[k.path], name)
			}
		}
	}
}

func parsed(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	addFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "1024": 1 << 10, "1KiB": 1 << 10, "3 MiB": 3 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1GB", "1.5GiB", "8388608TiB", "1e9"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		}
	}
	for size, want := range map[Size]string{0: "0", 1: "1", 1 << 10: "1KiB", 1<<30 + 1<<20: "1025MiB", 1 << 40: "1TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d is printed as %q, want %q", int64(size), got, want)
		}
	}
}

// What the packages below take for a default must be what is printed as one: a zero
// handed down would become another value.
func TestDefaultsAreThoseOfThePackages(t *testing.T) {
	t.Parallel()
	c := defaultConfig()
	c.Gateway.URL, c.Gateway.CAID = "https://gateway.example", "ca"
	c.Gateway.ClientCertPath, c.Gateway.ClientKeyPath = "c", "k"
	if err := c.validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	for name, v := range map[string]any{
		"gateway":   c.gatewayConfig(),
		"transport": c.transportConfig(nil),
		"consumer":  c.consumerConfig(nil),
		"layout":    c.layout(),
		"schedule":  c.schedule(),
	} {
		for f, value := range reflect.ValueOf(v).Fields() {
			zeroMeansOff := map[string]bool{
				"gateway.ProfileID": true, "consumer.ProfileID": true, "consumer.Rate": true, "consumer.FleetRate": true,
				"consumer.ApprovalNever": true, "consumer.Metrics": true,
				"transport.PKCS12File": true, "transport.PKCS12PasswordFile": true, "transport.ServerCAFile": true,
				"transport.MaxIdleConns": true, "transport.IdleConnTimeout": true, "transport.ResponseHeaderTimeout": true,
				"transport.Log": true,
			}
			if value.IsZero() && !zeroMeansOff[name+"."+f.Name] {
				t.Errorf("%s.%s is handed down as zero", name, f.Name)
			}
		}
	}
}
