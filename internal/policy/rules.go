package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Rules are the rules of one producer, as in the policy file. The zero value allows
// nothing.
type Rules struct {
	// Signatures are the keys that must sign requests. Absent: requests need no
	// signature.
	Signatures *Signatures `yaml:"signatures,omitempty"`

	Kinds    []string `yaml:"kinds,omitempty"`
	CAs      []string `yaml:"cas,omitempty"`
	Profiles []string `yaml:"profiles,omitempty"`
	Names    Names    `yaml:"names,omitempty"`
	// Subject lists the attributes that a subject may have besides CN and emailAddress,
	// by name or object identifier.
	Subject map[string]Attribute `yaml:"subject,omitempty"`
	// Keys are key types: "EC P-256", "Ed25519", and "RSA 3072" for RSA of at least 3072
	// bits. Absent: see Keys.
	Keys []string `yaml:"keys,omitempty"`
	// SHA1Signatures allows certificate requests signed with SHA-1. MD5 is always
	// refused.
	SHA1Signatures bool `yaml:"sha1_signatures,omitempty"`
	// MaxValidity bounds validity_seconds and validity_period; 0 means no bound. A
	// request without either gets the validity of its profile. A max_validity_seconds
	// beyond the bound is lowered to it.
	MaxValidity Span `yaml:"max_validity,omitempty"`
	// LongerValidity is Cut or Refuse; "" means Refuse.
	LongerValidity string `yaml:"longer_validity,omitempty"`
	// MaxWait bounds poll_max_wait_seconds; 0 means no bound but the worker's.
	MaxWait    Span     `yaml:"max_wait,omitempty"`
	Extensions []string `yaml:"extensions,omitempty"`
	EKUs       []string `yaml:"ekus,omitempty"`
	Properties []string `yaml:"properties,omitempty"`
	Revoke     Revoke   `yaml:"revoke,omitempty"`
	// RequestsPerMinute bounds the issue requests of a producer; 0 means no bound.
	// Requests beyond it wait for their turn. The worker counts, not this package.
	RequestsPerMinute int `yaml:"requests_per_minute,omitempty"`
	// Strict refuses requests with unknown keys that resemble known ones, like strict in
	// a request.
	Strict bool `yaml:"strict,omitempty"`
	// Expressions are evaluated last.
	Expressions []Expression `yaml:"expressions,omitempty"`
}

// Names are the names that certificates may have, by type.
type Names struct {
	DNS DNS `yaml:"dns,omitempty"`
	// IP are ranges with a prefix length, or single addresses.
	IP []string `yaml:"ip,omitempty"`
	// Email are host parts of addresses, each exactly.
	Email []string `yaml:"email,omitempty"`
	// URI are prefixes of URIs up to a boundary: the end, or a /, ? or #.
	URI []string `yaml:"uri,omitempty"`
	// Other are other types of names: x400Address, directoryName, ediPartyName,
	// registeredID, and the object identifiers of otherName types. Their values are not
	// checked.
	Other []string `yaml:"other,omitempty"`
}

// DNS are host names.
type DNS struct {
	Exact []string `yaml:"exact,omitempty"`
	// Suffixes allow themselves and all names below them.
	Suffixes  []string `yaml:"suffixes,omitempty"`
	Wildcards bool     `yaml:"wildcards,omitempty"`
}

// Attribute says which values an attribute of a subject may have.
type Attribute struct {
	// Values are the allowed values. Absent: any. For CN and emailAddress they extend the
	// rules of names.
	Values []string `yaml:"values,omitempty"`
	// Required refuses a subject without the attribute.
	Required bool `yaml:"required,omitempty"`
}

// Revoke says which certificates may be revoked, and for which reasons.
type Revoke struct {
	// Serials is SerialsOwn, SerialsAny or SerialsNone; "" means SerialsNone.
	Serials string   `yaml:"serials,omitempty"`
	Reasons []string `yaml:"reasons,omitempty"`
}

// Constants of the policy file.
const (
	Any = "*"

	Cut    = "cut"
	Refuse = "refuse"

	SerialsOwn  = "own" // certificates that the worker knows to be the producer's
	SerialsAny  = "any"
	SerialsNone = "none"
)

// Keys returns the key types that are allowed if a policy names none.
func Keys() []string {
	return []string{"RSA 2048", "EC P-256", "EC P-384", "EC P-521", "Ed25519"}
}

// Span is a duration, written in Go's form or in whole days: 36h, 90d.
type Span time.Duration

// MarshalYAML writes a Span in the form that UnmarshalYAML reads.
func (s Span) MarshalYAML() (any, error) {
	if d := time.Duration(s); d%(24*time.Hour) != 0 {
		return d.String(), nil
	}
	return strconv.Itoa(int(time.Duration(s)/(24*time.Hour))) + "d", nil
}

// UnmarshalYAML reads a Span of at least one second.
func (s *Span) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: not a duration", n.Line)
	}
	d, err := time.ParseDuration(n.Value)
	if days, ok := strings.CutSuffix(n.Value, "d"); ok {
		var count int
		if count, err = strconv.Atoi(days); count > 100*365 {
			count = 0
		}
		d = time.Duration(count) * 24 * time.Hour
	}
	if err != nil || d < time.Second {
		return fmt.Errorf("line %d: %q is not a duration of at least 1s, such as 36h or 90d", n.Line, n.Value)
	}
	*s = Span(d)
	return nil
}
