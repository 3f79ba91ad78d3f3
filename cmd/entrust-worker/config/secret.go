package config

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Redacted is printed instead of a secret.
const Redacted = "REDACTED"

// Secret is the value of a credential setting: a password, a token, or the path of a file
// with one, since people paste the secret itself where its path belongs. However it is
// printed, logged or encoded, it reads REDACTED; Reveal is the only way to its value. The
// zero value is no secret, and prints as nothing.
type Secret string

// Reveal returns the value. The caller hands it to the library that authenticates or
// reads the file, and puts it into no text.
func (s Secret) Reveal() string { return string(s) }

// String is what is printed of the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Redacted
}

// GoString is String for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Scrubber takes the values of credential settings out of text that other packages wrote,
// such as the error of a library that quotes a path. It is the second net: our own errors
// never hold such a value. The zero value knows none. It is safe for concurrent use.
type Scrubber struct {
	mu     sync.RWMutex
	values []scrubbed
}

type scrubbed struct{ value, name string }

// shortest is the length from which values are looked for in text: shorter ones are in
// every second word.
const shortest = 5

// Add makes the scrubber know a value, by the name of its setting. Of a value of several
// lines it knows each line.
func (s *Scrubber) Add(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.SplitSeq(value, "\n") {
		if line = strings.TrimSpace(line); len(line) >= shortest {
			s.values = append(s.values, scrubbed{line, "[" + name + "]"})
		}
	}
	// The longest first: one may be part of another.
	slices.SortStableFunc(s.values, func(a, b scrubbed) int { return len(b.value) - len(a.value) })
}

// userInfo is a user, or user and password, in a URL.
var userInfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s"]*@`)

// Scrub returns the text with each known value replaced by the name of its setting, and
// without users and passwords in URLs.
func (s *Scrubber) Scrub(text string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, v := range s.values {
		text = strings.ReplaceAll(text, v.value, v.name)
	}
	return userInfo.ReplaceAllString(text, "${1}"+Redacted+"@")
}
