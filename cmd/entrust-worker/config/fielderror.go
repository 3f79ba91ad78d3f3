package config

import (
	"errors"
	"slices"
	"strings"
)

// FieldError says what is wrong with the value of a key. It quotes no value of a
// credential setting.
type FieldError struct {
	Key     string // such as "gateway.timeout"
	Problem string // such as "must be below ack_wait: 45s !< 30s"
	Fix     string // what to do about it; "" where Problem says it
	// Others are the keys of a relation beside Key.
	Others []string
	// From says where the values came from, such as "flag --gateway-timeout". Defaults are
	// left out.
	From []string
}

// Error is key, problem, fix and origin in one line.
func (e *FieldError) Error() string {
	text := e.Key + " " + e.Problem
	if e.Fix != "" {
		text += "; " + e.Fix
	}
	if len(e.From) > 0 {
		text += " (" + strings.Join(e.From, ", ") + ")"
	}
	return text
}

// sourced adds to each field error in err where the values came from.
func (s *Settings) sourced(problems []*FieldError) error {
	all := make([]error, len(problems))
	for i, p := range problems {
		for _, path := range append([]string{p.Key}, p.Others...) {
			if origin := s.origin[path]; origin != "" && origin != fromDefault && !slices.Contains(p.From, origin) {
				p.From = append(p.From, origin)
			}
		}
		all[i] = p
	}
	return errors.Join(all...)
}
