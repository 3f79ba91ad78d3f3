package config

import (
	"net/url"
	"os"
	"strings"
)

// Shown is a key's value as it may be printed. The path of a credential file is shown
// where such a file exists: what names no file may be the secret itself.
func (s *Settings) Shown(k Key) string {
	text := s.text(k)
	switch {
	case text == "":
		return ""
	case k.secret == "value", k.Path == "nats.user" && s.NATS.Password == "": // a token, then
		return Redacted
	case k.secret == "file", k.fileOf != "":
		if info, err := os.Stat(text); err != nil || info.IsDir() {
			return Redacted + " (no such file)"
		}
	case k.Path == "nats.url", k.Path == "gateway.url" && strings.Contains(text, "@"): // refused later, but printed before
		return RedactURLs(text)
	}
	return text
}

// RedactURLs returns URLs, separated by commas, without their users and passwords.
func RedactURLs(list string) string {
	parts := strings.Split(list, ",")
	for i, u := range parts {
		u = strings.TrimSpace(u)
		if parts[i] = u; u == "" {
			continue
		}
		scheme, rest, found := strings.Cut(u, "://")
		if !found {
			scheme, rest = "nats", u
		}
		// A password may hold an @, and even what ends the authority.
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			parts[i] = scheme + "://" + Redacted + "@" + rest[at+1:]
		} else if _, err := url.Parse(scheme + "://" + rest); err != nil {
			parts[i] = Redacted // such as the first half of a password with a comma in it
		}
	}
	return strings.Join(parts, ",")
}

// NATSServer is where NATS is, as it may be printed.
func (s *Settings) NATSServer() string {
	if s.NATS.Context != "" {
		return "context " + s.NATS.Context
	}
	return RedactURLs(s.NATS.URL)
}
