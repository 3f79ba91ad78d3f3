package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	suspensionPrefix = "suspended." // suspended.<lane>.<producer>.<token of the CA>
	// anyToken stands for an empty field of a scope in a key. token returns it for no
	// text.
	anyToken = "="
	// MaxSuspensions bounds the suspensions in force: each is a series of a metric and is
	// compared with each call.
	MaxSuspensions = 64
	// maxText bounds a CA's id, an operator's text, and a gateway's answer, in bytes.
	maxText = 256
)

// ErrTooManySuspensions says that MaxSuspensions are already in force.
var ErrTooManySuspensions = fmt.Errorf("%d suspensions are in force, the maximum: resume one first", MaxSuspensions)

// Scope names the calls that a suspension stops, by lane, producer and CA. An empty field
// stands for all of its kind, so the zero Scope is every call to the gateway.
type Scope struct {
	// Lane is one of Lanes.
	Lane     string `json:"lane,omitempty"`
	Producer string `json:"producer,omitempty"`
	CA       string `json:"ca,omitempty"`
}

// laneManage makes no calls to the gateway: only the whole lane can be suspended.
const laneManage = "manage"

// Lanes returns the lanes that can be suspended. issue, revoke and manage include orders
// that are tried again.
func Lanes() []string { return []string{"issue", "revoke", "poll", laneManage} }

// Validate checks a scope that an operator named.
func (s Scope) Validate() error {
	switch {
	case s.Lane != "" && !slices.Contains(Lanes(), s.Lane):
		return fmt.Errorf("unknown lane %.80q; the lanes are %s", s.Lane, strings.Join(Lanes(), ", "))
	case s.Producer != "" && !tokenRule.MatchString(s.Producer):
		return fmt.Errorf("%.80q is not the name of a producer: 1 to 64 letters, digits, _ and -", s.Producer)
	case len(s.CA) > maxText || strings.ContainsFunc(s.CA, unicode.IsControl):
		return fmt.Errorf("%.80q is not the id of a CA: one line of at most %d bytes", s.CA, maxText)
	case s.Lane == laneManage && s != Scope{Lane: laneManage}:
		return fmt.Errorf("the lane %s makes no calls to the gateway: suspend all of it", laneManage)
	}
	return nil
}

// String describes the scope: "lane issue, producer shop", "all calls".
func (s Scope) String() string {
	var all []string
	for _, f := range [][2]string{{"lane ", s.Lane}, {"producer ", s.Producer}, {"CA ", s.CA}} {
		if f[1] != "" {
			all = append(all, f[0]+f[1])
		}
	}
	if len(all) == 0 {
		return "all calls"
	}
	return strings.Join(all, ", ")
}

// key returns the bucket key of the scope's suspension.
func (s Scope) key() string {
	part := func(text string) string {
		if text == "" {
			return anyToken
		}
		return token(text)
	}
	return suspensionPrefix + part(s.Lane) + "." + part(s.Producer) + "." + part(s.CA)
}

// Suspension is a stop that an operator ordered. It stays in force until an operator
// resumes it, also across restarts. It is a plain value.
type Suspension struct {
	Scope
	// Operator is the operator's name, as the verb got it. Reason is one line.
	Operator string `json:"operator"`
	Reason   string `json:"reason,omitempty"`
	// Since is when the server stored the suspension. It is the store time of the key.
	Since time.Time `json:"since,omitzero"`
	// Age is how long the suspension has been in force, by server time. It is not stored.
	Age time.Duration `json:"-"`
}

// About describes the suspension in one line: scope, operator and reason.
func (s Suspension) About() string {
	about := s.Scope.String()
	if s.Operator != "" {
		about += ", by " + s.Operator
	}
	if s.Reason != "" {
		about += ": " + s.Reason
	}
	return about
}

// Why is About for producers: it leaves the operator out.
func (s Suspension) Why() string {
	s.Operator = ""
	return s.About()
}

// suspensionOf decodes the value of a suspension's key. It returns false for a value that
// no worker wrote.
func suspensionOf(key string, data []byte, since time.Time, age time.Duration) (Suspension, bool) {
	var s Suspension
	if data == nil || json.Unmarshal(data, &s) != nil || s.key() != key {
		return Suspension{}, false
	}
	s.Since, s.Age = since.UTC(), age
	return s, true
}

// Suspend stops every worker's calls of s.Scope until Resume. If a suspension of the same
// scope is in force, Suspend keeps it: then added is false and stands is that suspension.
// The error is ErrTooManySuspensions, a defect of s, or a failure of the bucket; after a
// failure the suspension may be in force all the same.
func (b *Bucket) Suspend(ctx context.Context, s Suspension) (stands Suspension, added bool, err error) {
	if err := s.Validate(); err != nil {
		return Suspension{}, false, err
	}
	if len(s.Reason) > maxText || len(s.Operator) > maxText || strings.ContainsFunc(s.Reason+s.Operator, unicode.IsControl) {
		return Suspension{}, false, fmt.Errorf("operator and reason must be one line of at most %d bytes each", maxText)
	}
	all, err := b.Suspensions(ctx)
	if err != nil {
		return Suspension{}, false, err
	}
	if len(all) >= MaxSuspensions && !slices.ContainsFunc(all, func(o Suspension) bool { return o.Scope == s.Scope }) {
		return Suspension{}, false, ErrTooManySuspensions
	}
	key, what := s.key(), "the suspension of "+s.Scope.String()
	s.Since = time.Time{}
	if _, err := b.update(ctx, what, key, 0, func(last entry) any {
		if was, ok := suspensionOf(key, last.data, last.stored, last.age); ok {
			stands, added = was, false
			return nil
		}
		stands, added = s, true
		return s
	}); err != nil {
		return Suspension{}, false, err
	}
	return stands, added, nil
}

// Resume ends the suspension of exactly this scope and returns it; false if there is
// none.
func (b *Bucket) Resume(ctx context.Context, scope Scope) (was Suspension, removed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	key := scope.key()
	for range casRounds {
		var last entry
		last, err = b.read(ctx, key)
		if err != nil {
			return Suspension{}, false, fmt.Errorf("reading the suspension of %s: %w", scope, err)
		}
		if last.data == nil {
			return Suspension{}, false, nil
		}
		was, _ = suspensionOf(key, last.data, last.stored, last.age)
		if _, err = b.write(ctx, key, last.revision, nil, 0); !errors.Is(err, ErrConflict) {
			break
		}
	}
	if err != nil {
		return Suspension{}, false, fmt.Errorf("removing the suspension of %s: %w", scope, err)
	}
	return was, true, nil
}

// Suspensions returns the suspensions in force, oldest first. Any replica may answer. Run
// need not be running. Values that no worker wrote are left out.
func (b *Bucket) Suspensions(ctx context.Context) ([]Suspension, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var all []Suspension
	for m, err := range streams.Scan(ctx, b.js, b.stream(), b.subject(suspensionPrefix+">")) {
		if err != nil {
			return nil, fmt.Errorf("reading the suspensions: %w", err)
		}
		if m.Deleted() {
			continue
		}
		key := strings.TrimPrefix(m.Subject, b.subject(""))
		if s, ok := suspensionOf(key, m.Data, m.Time, b.age(key, m.Sequence, m.Time)); ok {
			all = append(all, s)
		}
	}
	return sorted(all), nil
}

// sorted sorts suspensions, oldest first.
func sorted(all []Suspension) []Suspension {
	slices.SortFunc(all, func(a, b Suspension) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.key(), b.key()))
	})
	return all
}

// sawSuspension updates told from a suspension's key that the watch delivered.
func (b *Bucket) sawSuspension(told map[string]Suspension, key string, e entry) {
	s, ok := suspensionOf(key, e.data, e.stored, e.age)
	if !ok {
		if e.data != nil {
			b.log.Warn("a suspension's key in the control bucket holds a value that no worker wrote: it suspends nothing", "key", key)
		}
		delete(told, key)
		return
	}
	told[key] = s
}

// tellSuspensions passes the suspensions in force to the handler.
func tellSuspensions(told map[string]Suspension, h Handlers) {
	if h.Suspended == nil {
		return
	}
	all := make([]Suspension, 0, len(told))
	for _, s := range told {
		all = append(all, s)
	}
	h.Suspended(sorted(all))
}
