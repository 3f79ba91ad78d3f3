package config

import "testing"

func TestRedactURLs(t *testing.T) {
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
		if got := RedactURLs(list); got != want {
			t.Errorf("%q is shown as %q, want %q", list, got, want)
		}
	}
}
