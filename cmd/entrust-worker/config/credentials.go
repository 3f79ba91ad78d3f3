package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// credential is one way to tell NATS who we are, by the keys that give it. It is called as
// the first of them.
type credential []string

// credentials are all of them. A URL is one where it holds a user.
func credentials() []credential {
	return []credential{
		{"nats.creds"},
		{"nats.nkey"},
		{"nats.jwt", "nats.jwt_file", "nats.seed", "nats.seed_file"},
		{"nats.user", "nats.password", "nats.password_file"},
		{"nats.token", "nats.token_file"},
		{"nats.url"},
	}
}

// pickCredentials decides which of several credentials are used: those of the highest
// layer, whatever their kind. Two kinds in that layer are an error, for any rule among them
// would surprise somebody. It goes before secrets are read from files, which hides where
// their paths came from.
func (s *settings) pickCredentials(all []key) error {
	value := map[string]string{}
	for _, k := range all {
		value[k.path] = format(reflect.ValueOf(s.Config).FieldByIndex(k.index))
	}
	if !strings.Contains(value["nats.url"], "@") {
		delete(value, "nats.url")
	}
	// where is the source of a kind, in its highest layer.
	where := func(c credential) (rank int, origin string) {
		for _, path := range c {
			if r := rankOf(s.origin[path]); value[path] != "" && r > rank {
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
		return withHint(usagef("%s and %s must not both be set: %s, %s", best[0][0], best[1][0], origin, other),
			"one kind of credentials is enough; flags override the environment, and that the file")
	}
	s.credentials = best[0][0]
	for _, c := range credentials() {
		for _, path := range c {
			if value[path] != "" && !slices.Contains(best[0], path) {
				s.unused[path] = fmt.Sprintf("not used: %s", origin)
			}
		}
	}
	return nil
}

// half says which half of the credentials that count is missing.
func (s *settings) half() error {
	switch n := s.NATS; {
	case s.credentials == "nats.user" && n.User == "":
		return usagef("nats.password needs nats.user: %s", s.origin["nats.password"])
	case s.credentials == "nats.jwt" && n.JWT == "":
		return usagef("nats.seed needs nats.jwt: %s; an nkey without a JWT is nats.nkey, the path of its file", s.origin["nats.seed"])
	}
	return nil
}

// rankOf is the place of a layer, by an origin in it; 0 for the defaults.
func rankOf(origin string) int {
	layer, _, _ := strings.Cut(origin, " ")
	return slices.Index([]string{"file", "env", "flag"}, layer) + 1
}

// from says where a key's value came from, and whether it counts.
func (s *settings) from(k key) string {
	note, ok := s.unused[k.path]
	if !ok {
		return s.origin[k.path]
	}
	if k.path == "nats.url" {
		note = "its user is " + note
	}
	return s.origin[k.path] + " (" + note + ")"
}
