package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// credential is one way to authenticate to NATS, by the keys that give it. Its name is
// the first of them.
type credential []string

// credentials are all of them. A URL is one where it holds a user.
func credentials() []credential {
	return []credential{
		{"nats.creds"},
		{"nats.nkey"},
		{"nats.user", "nats.password", "nats.password_file"},
		{"nats.token", "nats.token_file"},
		{"nats.url"},
	}
}

// pickCredentials decides which of several credentials count: those of the highest layer,
// whatever their kind. Two kinds in that layer are an error: any rule between them would
// surprise. It runs before secrets are read from files, which hides where their paths
// came from.
func (s *Settings) pickCredentials() error {
	set := map[string]bool{}
	for _, k := range KeysAndForms() {
		set[k.Path] = s.text(k) != ""
	}
	set["nats.url"] = strings.Contains(s.NATS.URL, "@")
	// where is the source of a kind, in its highest layer.
	where := func(c credential) (rank int, origin string) {
		for _, path := range c {
			if r := rankOf(s.origin[path]); set[path] && r > rank {
				rank, origin = r, s.origin[path]
			}
		}
		return rank, origin
	}
	var best []credential
	top := 0
	for _, c := range credentials() {
		switch r, _ := where(c); {
		case r == 0:
		case r > top:
			best, top = []credential{c}, r
		case r == top:
			best = append(best, c)
		}
	}
	if len(best) == 0 {
		return nil
	}
	_, origin := where(best[0])
	if len(best) > 1 {
		_, other := where(best[1])
		return usage.WithHint(usage.Wrap(&FieldError{
			Key: best[0][0], Problem: "and " + best[1][0] + " must not both be set", From: []string{origin, other},
		}), "set one kind of credentials; flags override the environment, the environment overrides the file")
	}
	s.Credentials = best[0][0]
	for _, c := range credentials() {
		for _, path := range c {
			if set[path] && !slices.Contains(best[0], path) {
				s.unused[path] = fmt.Sprintf("not used: %s", origin)
			}
		}
	}
	return nil
}

// text is the value of a key as it was given.
func (s *Settings) text(k Key) string {
	if k.fileOf != "" {
		return s.files[k.Path]
	}
	v := reflect.ValueOf(s.Config).FieldByIndex(k.index)
	if secret, ok := v.Interface().(Secret); ok {
		return secret.Reveal()
	}
	return format(v)
}

// rankOf is the place of a layer, by an origin in it; 0 for the defaults.
func rankOf(origin string) int {
	layer, _, _ := strings.Cut(origin, " ")
	return slices.Index([]string{"file", "env", "flag"}, layer) + 1
}

// from says where a key's value came from, and whether it counts.
func (s *Settings) from(k Key) string {
	note, ok := s.unused[k.Path]
	if !ok {
		return s.origin[k.Path]
	}
	if k.Path == "nats.url" {
		note = "its user is " + note
	}
	return s.origin[k.Path] + " (" + note + ")"
}
