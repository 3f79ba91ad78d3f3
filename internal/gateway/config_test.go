package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestBaseURL(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"https://ca.example.net", "https://ca.example.net/v1"},
		{"https://ca.example.net/", "https://ca.example.net/v1"},
		{"https://ca.example.net/v1", "https://ca.example.net/v1"},
		{"https://ca.example.net/v1/", "https://ca.example.net/v1"},
		{"https://ca.example.net:8444/cagw", "https://ca.example.net:8444/cagw/v1"},
		{"https://ca.example.net/cagw/v1//", "https://ca.example.net/cagw/v1"},
		{"https://ca.example.net/a%2Fb/", "https://ca.example.net/a%2Fb/v1"},
		{"https://ca.example.net/dev1", "https://ca.example.net/dev1/v1"}, // v1 is not a segment
		{"https://ca.example.net//x", "https://ca.example.net//x/v1"},     // not a host
	}
	for _, tt := range tests {
		if got, err := parseBase(tt.in); err != nil || got != tt.want {
			t.Errorf("parseBase(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	good := Config{URL: "https://ca.example.net", CAID: "ca-1"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no URL", func(c *Config) { c.URL = "" }, "gateway URL"},
		{"plain HTTP", func(c *Config) { c.URL = "http://ca.example.net" }, "https://"},
		{"no host", func(c *Config) { c.URL = "https:///v1" }, "no host"},
		{"password", func(c *Config) { c.URL = "https://me:hunter2@ca.example.net" }, "password"},
		{"unparsable with password", func(c *Config) { c.URL = "https://me:hunter2@ca.example.net:x" }, "cannot be parsed"},
		{"query", func(c *Config) { c.URL = "https://ca.example.net/?a=b" }, "query"},
		{"no CA", func(c *Config) { c.CAID = " " }, "CA id"},
		{"dialect", func(c *Config) { c.Dialect = "acme" }, `"acme"`},
		{"negative timeout", func(c *Config) { c.EnrollTimeout = -1 }, "enroll timeout"},
		{"cap below floor", func(c *Config) { c.RetryAfterMax, c.ThrottleFloor = time.Second, time.Minute }, "1s !>= 1m0s"},
		{"poll path without the id", func(c *Config) { c.PollPath = "enrollments" }, "{trackingId}"},
		{"poll path with a query", func(c *Config) { c.PollPath = "enrollments?id={trackingId}" }, "without ? and #"},
		{"poll path with a bad escape", func(c *Config) { c.PollPath = "%zz/{trackingId}" }, "escape"},
		{"pages", func(c *Config) { c.FindMaxPages = -1 }, "page limit"},
		{"word in two lists", func(c *Config) { c.Words.Rejected = []string{"pending"} }, `"pending"`},
	}
	for _, tt := range tests {
		cfg := good
		tt.change(&cfg)
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q in it", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the password is in %v", tt.name, err)
		}
		if _, err := New(cfg, http.DefaultClient, nil); err == nil {
			t.Errorf("%s: New accepts it", tt.name)
		}
	}
	if _, err := New(good, nil, nil); err == nil {
		t.Error("New accepts no HTTP client")
	}
}

func TestSegments(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a~b": "a~b", "a/../b?x=1": "a%2F..%2Fb%3Fx=1", "..": "%2E%2E", ".": "%2E", "a.b": "a.b", "": "", "ä %": "%C3%A4%20%25",
	} {
		if got := segment(in); got != want {
			t.Errorf("segment(%q) = %q, want %q", in, got, want)
		}
	}
}
