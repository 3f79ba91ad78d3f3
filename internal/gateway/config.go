package gateway

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Dialect names the kind of server behind the URL.
type Dialect string

const (
	// DialectAuto asks GET …/certificate-authorities/{caId} once and chooses by the
	// shape of the answer.
	DialectAuto Dialect = "auto"
	// DialectCertctl is the flat dialect of the certctl connector: tracking ids,
	// PEM, PUT …/revoke, decimal serials.
	DialectCertctl Dialect = "certctl"
	// DialectCAGW is the CA Gateway 1.x: enrollment{…body}, base64 DER,
	// POST …/actions, hexadecimal serials.
	DialectCAGW Dialect = "cagw"
)

// DefaultPollPath is the path of a pending enrollment in both dialects. Only the certctl
// connector is known to use it; for the CA Gateway it is unverified.
const DefaultPollPath = "certificate-authorities/{caId}/enrollments/{trackingId}"

// Config says which gateway a Client calls, and how. URL and CAID are required. Every other
// zero value stands for its default.
type Config struct {
	// URL is the https base of the gateway, with its context path if it has one
	// ("https://ca.example.net/cagw"). "/v1" is appended unless the path ends in it;
	// a trailing slash makes no difference.
	URL string
	// CAID is the certificate authority for requests that name none. Probe and DialectAuto ask
	// for it too.
	CAID string
	// ProfileID is the enrollment profile for requests that name none. The CA Gateway requires
	// one; in the certctl dialect it is optional.
	ProfileID string
	// ProfileValidity is how long certificates of a profile are valid if an enrollment asks
	// for no validity, by profile. Without it the client uses the validity of the last
	// certificate of that profile.
	ProfileValidity map[string]time.Duration
	// Dialect is the gateway's dialect. Default: DialectAuto.
	Dialect Dialect

	// ClientID is sent as the header ca-client-id with every call. Empty: no header.
	ClientID string

	// EnrollTimeout bounds one enrollment, answer included. The gateway may wait for its
	// backend for a minute inside the call. Too short a time cuts live enrollments and
	// leaves them indeterminate; too long a time holds a worker's place. Default: 120 s.
	EnrollTimeout time.Duration
	// Timeout bounds every other call. Default: 30 s.
	Timeout time.Duration
	// NotFoundGrace is how long after its submission an order that the gateway does not know
	// still counts as pending: a gateway may answer the enrollment before it can be polled.
	// Negative: no grace. Default: 2 min.
	NotFoundGrace time.Duration
	// ThrottleFloor is the shortest RetryAfter of a 429, with or without a Retry-After: the
	// gateway counts its quota in windows of ten seconds. Default: 10 s.
	ThrottleFloor time.Duration
	// RetryAfterMax caps every Retry-After, so that a wrong value cannot stop the work for
	// days. Default: 1 h.
	RetryAfterMax time.Duration

	// PollPath is the path below /v1 of a pending enrollment, with the placeholders
	// {caId} (optional) and {trackingId}. Default: DefaultPollPath.
	PollPath string
	// Poll says how the client asks for pending enrollments in the cagw dialect. Default:
	// PollAuto.
	Poll PollMode
	// Words are the status words. Default: DefaultStatusWords.
	Words StatusWords

	// FindSkew is how much earlier than Search.Since a matching certificate may begin: clocks
	// differ and CAs backdate. Default: 5 min.
	FindSkew time.Duration
	// FindMaxPages bounds the pages of certificate events in one look-up; each costs quota. A
	// longer listing is Unreadable and proves nothing. Default: 20.
	FindMaxPages int
}

// withDefaults returns the configuration with every zero value replaced.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&c.EnrollTimeout, 120*time.Second)
	set(&c.Timeout, 30*time.Second)
	set(&c.NotFoundGrace, 2*time.Minute)
	set(&c.ThrottleFloor, 10*time.Second)
	set(&c.RetryAfterMax, time.Hour)
	set(&c.FindSkew, 5*time.Minute)
	if c.Dialect == "" {
		c.Dialect = DialectAuto
	}
	if c.PollPath == "" {
		c.PollPath = DefaultPollPath
	}
	if c.Poll == "" {
		c.Poll = PollAuto
	}
	if c.FindMaxPages == 0 {
		c.FindMaxPages = 20
	}
	c.Words = c.Words.withDefaults()
	return c
}

// Validate reports every mistake in the configuration. Zero values count as their defaults.
// An error about a relation names both values.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseBase(c.URL); err != nil {
		errs = append(errs, err)
	}
	if strings.TrimSpace(c.CAID) == "" {
		bad("gateway CA id: must not be empty")
	}
	switch c.Dialect {
	case DialectAuto, DialectCertctl, DialectCAGW:
	default:
		bad("gateway dialect: unknown %q; one of auto, certctl, cagw", c.Dialect)
	}
	switch c.Poll {
	case PollAuto, PollEnrollment, PollEvents:
	default:
		bad("gateway poll: unknown %q; one of auto, enrollment, events", c.Poll)
	}
	if c.Poll == PollEvents && c.Dialect == DialectCertctl {
		bad("gateway poll: events needs the dialect cagw; certctl has no events")
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"enroll timeout", c.EnrollTimeout}, {"timeout", c.Timeout}, {"throttle floor", c.ThrottleFloor},
		{"Retry-After cap", c.RetryAfterMax}, {"look-up skew", c.FindSkew},
	} {
		if d.d < 0 {
			bad("gateway %s: must not be negative, is %s", d.name, d.d)
		}
	}
	if c.RetryAfterMax < c.ThrottleFloor {
		bad("gateway Retry-After cap must not be below the throttle floor: %s !>= %s", c.RetryAfterMax, c.ThrottleFloor)
	}
	if c.FindMaxPages < 0 {
		bad("gateway look-up page limit: must not be negative, is %d", c.FindMaxPages)
	}
	if !strings.Contains(c.PollPath, "{trackingId}") {
		bad("gateway poll path: %q lacks {trackingId}", c.PollPath)
	}
	if strings.ContainsAny(c.PollPath, "?#") {
		bad("gateway poll path: %q must be a path, without ? and #", c.PollPath)
	} else if _, err := url.Parse("https://gateway/" + c.PollPath); err != nil {
		bad("gateway poll path: %q has an invalid escape", c.PollPath)
	}
	if err := c.Words.validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// parseBase returns the base URL of every path, which ends in /v1 without a trailing slash.
func parseBase(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's own error quotes the whole URL, which may hold a password.
		return "", errors.New("gateway URL: cannot be parsed")
	}
	switch {
	case u.Scheme != "https":
		return "", errors.New("gateway URL: must begin with https://, since the gateway authenticates its clients by mutual TLS")
	case u.Host == "":
		return "", errors.New("gateway URL: names no host")
	case u.User != nil:
		return "", errors.New("gateway URL: must not hold a user or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("gateway URL: must not hold a query or fragment")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if !strings.HasSuffix(path, "/v1") {
		path += "/v1"
	}
	return "https://" + u.Host + path, nil
}
