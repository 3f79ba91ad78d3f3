package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// A secret reads REDACTED however it is printed.
func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	c := Default()
	c.NATS.Password, c.NATS.Creds, c.Gateway.ClientKeyPath = "hunter2", "hunter2", "hunter2"
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "config", c, "password", c.NATS.Password)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "config", c, "password", c.NATS.Password)
	for _, text := range []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%q %x %s", c.NATS.Password, c.NATS.Password, c.NATS.Password),
		fmt.Sprintf("%v", &c), string(encoded), logged.String(), fmt.Errorf("x: %w", fmt.Errorf("%v", c.NATS.Creds)).Error(),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("printed: %s", text)
		}
	}
	if c.NATS.Password.Reveal() != "hunter2" || c.NATS.Token.String() != "" {
		t.Error("a secret must keep its value, and no secret must print as nothing")
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	var s Scrubber
	s.Add("nats.creds", "/run/secret/creds")
	s.Add("nats.token", "hunter2\nsecond line of it")
	s.Add("nats.password", "hunter2hunter2")
	s.Add("short", "t")
	for text, want := range map[string]string{
		"open /run/secret/creds: denied":                       "open [nats.creds]: denied",
		"hunter2hunter2, hunter2":                              "[nats.password], [nats.token]",
		`quoted "hunter2\nsecond line of it"`:                  `quoted "[nats.token]\n[nats.token]"`,
		"parse \"nats://u:p@ss@[bad\": missing ]":              "parse \"nats://REDACTED@[bad\": missing ]",
		"to nats://u:p@a:1,nats://127.0.0.1:4222 at user@host": "to nats://REDACTED@a:1,nats://127.0.0.1:4222 at user@host",
	} {
		if got := s.Scrub(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
