package gatewaytest

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Dialect is the wire dialect of a Server.
type Dialect string

const (
	// CertCtl is the flat dialect: PEM requests, a tracking id, PUT …/revoke with a decimal serial.
	CertCtl Dialect = "certctl"
	// CAGW is the CA Gateway 1.x dialect: bare base64 requests, nested answers, actions and events.
	CAGW Dialect = "cagw"
	// Both answers each request in the dialect of the request. GET of a CA answers in the CAGW shape.
	Both Dialect = "both"
)

// Config describes a Server. The zero value is a CertCtl gateway on a free loopback port
// that issues every order at once. Start copies the Config; the Server's methods change
// it later.
type Config struct {
	// Addr is the TCP address of the gateway. Default "127.0.0.1:0".
	Addr string
	// AdminAddr is the TCP address of the plain-HTTP control listener (see the
	// package comment). Empty: none. It has no authentication: loopback only,
	// or a private network of containers.
	AdminAddr string
	// InMemory serves on an in-memory listener instead of TCP, for testing/synctest. The
	// Server ignores Addr, and clients dial with Server.DialContext.
	InMemory bool

	// Dir holds the CAs and the client pair (ca.crt, client.crt, client.key, client.p12,
	// client.p12.password, issuing-ca.crt). Start uses the CAs in it again. Empty: a
	// temporary folder, which Close removes.
	Dir string
	// Persist keeps orders and revocations in a journal in Dir. The Server writes the
	// journal with write(2) before it answers, so that they survive SIGKILL, but no power
	// cut: there is no fsync. It does not keep faults, poll counts and statistics.
	Persist bool

	// Dialect is the gateway's dialect. Default CertCtl.
	Dialect Dialect
	// BasePath is the context path in front of /v1, such as "/cagw". Default none.
	BasePath string
	// CAIDs are the ids of the certificate authorities. All of them sign with one key.
	// Default "sim~issuing".
	CAIDs []string
	// Profiles are the profile ids of every CA. Default "tls-server", "tls-client".
	Profiles []string
	// Names are further DNS names and IP addresses of the server's certificate, beside
	// localhost, 127.0.0.1 and ::1.
	Names []string
	// Requirements are the requirements of the profiles, by profile id. GET of the profiles
	// shows them, and the gateway answers an enrollment without one with 400.
	Requirements map[string]Requirements
	// Undescribed leaves the requirements out of the description. The gateway enforces them all
	// the same.
	Undescribed bool
	// ECS answers 400 to an enrollment without the properties tracking.requesterName and
	// tracking.requesterEmail, as a CA of Entrust Certificate Services does.
	ECS bool
	// NoStatus removes the status of a CA, which an older gateway does not have.
	NoStatus bool
	// NoPollPath removes GET of an enrollment, for which there is no public evidence in the CA
	// Gateway. The answer is then Spring Boot's own 404.
	NoPollPath bool
	// HTTP1Only turns HTTP/2 off.
	HTTP1Only bool

	// MaxStreams is how many concurrent requests one HTTP/2 connection accepts. The server
	// refuses more with REFUSED_STREAM; a client sends more only before it has read the limit.
	// Default 250.
	MaxStreams int
	// IdleTimeout is how long a connection may be idle before the server closes it, in whole
	// seconds. HTTP/1.1 answers announce it in the Keep-Alive header. Zero: no limit.
	IdleTimeout time.Duration
	// Age is how long before Start the server's certificates begin, for clients whose
	// clocks are behind. Default 24 h.
	Age time.Duration

	// Latency is the shortest time of a gateway request; a random part of LatencyJitter is
	// added. Half of it passes before the request takes effect, even if the client closes the
	// connection: the gateway can accept an order after its sender died.
	Latency, LatencyJitter time.Duration
	// Seed decides every random choice below. Choices depend on the order's common name (its
	// key if it has none), not on timing, so that a run repeats.
	Seed uint64

	// PendingFraction is the share of orders, 0 to 1, that wait for approval.
	PendingFraction float64
	// RejectFraction is the share of orders, 0 to 1, that are rejected. A pending order is
	// rejected at the time of its approval.
	RejectFraction float64
	// ApproveAfter is how long a pending order waits. Zero: until Server.Approve or Reject.
	ApproveAfter time.Duration

	// DefaultValidity is the validity of a certificate if the order requests none. Default 90 days.
	DefaultValidity time.Duration
	// MaxValidity bounds the requested validity; the answer to more is 400. Default 825 days.
	MaxValidity time.Duration
	// SerialDigits pads hex serials with zeros to this number of digits (40 on the hosted
	// gateway). Unpadded serials have 32 digits. Default: no padding.
	SerialDigits int
	// SkipProof accepts a PKCS#10 request without a check of its signature. It is for keys that
	// Go does not know, and for benchmarks in which the gateway must cost little.
	SkipProof bool

	// LicenceCap is the largest number of active certificates. Beyond it the gateway refuses
	// enrollments. Zero: no cap.
	LicenceCap int
	// Quota is the number of requests in a window of 10 s, counted separately for enrollments
	// and for the rest. Beyond it the gateway answers everything with 429 until the window
	// and a further 10 s have passed. Zero: no quota.
	Quota int

	// EventPageSize caps a page of certificate events. Default 50.
	EventPageSize int
	// EventFlag names the member that announces more pages: "morePages", "hasMore" or
	// "both". Default "morePages".
	EventFlag string
	// EventDelay is how long an event takes to appear in certificate-events.
	EventDelay time.Duration
	// EmptyEventPages is the number of empty pages before the first event of a
	// listing, as a hosted gateway answers for days without events.
	EmptyEventPages int

	// AcceptUnknownSerials lets clients revoke certificates that this gateway never issued.
	// Otherwise the answer is 404.
	AcceptUnknownSerials bool
	// RecordPolls keeps the time of every poll of every order, beside the aggregate that is
	// always kept. Its memory is unbounded: use it for tests with few orders.
	RecordPolls bool

	// Faults are the rules at start; see Fault.
	Faults []Fault
}

// withDefaults returns c with every zero value replaced by its default.
func (c Config) withDefaults() Config {
	c.Addr = cmp.Or(c.Addr, "127.0.0.1:0")
	c.Dialect = cmp.Or(c.Dialect, CertCtl)
	c.BasePath = strings.TrimRight(c.BasePath, "/")
	if len(c.CAIDs) == 0 {
		c.CAIDs = []string{"sim~issuing"}
	}
	if len(c.Profiles) == 0 {
		c.Profiles = []string{"tls-server", "tls-client"}
	}
	c.DefaultValidity = cmp.Or(c.DefaultValidity, 90*24*time.Hour)
	c.MaxValidity = cmp.Or(c.MaxValidity, 825*24*time.Hour)
	c.MaxStreams = cmp.Or(c.MaxStreams, 250)
	c.Age = cmp.Or(c.Age, 24*time.Hour)
	c.EventPageSize = cmp.Or(c.EventPageSize, 50)
	c.EventFlag = cmp.Or(c.EventFlag, "morePages")
	c.CAIDs, c.Profiles, c.Names = slices.Clone(c.CAIDs), slices.Clone(c.Profiles), slices.Clone(c.Names)
	return c
}

// validate reports every invalid field. It expects withDefaults first.
func (c Config) validate() error {
	var errs []error
	if c.Dialect != CertCtl && c.Dialect != CAGW && c.Dialect != Both {
		errs = append(errs, fmt.Errorf("gatewaytest: Config.Dialect must be certctl, cagw or both, not %q", c.Dialect))
	}
	if c.BasePath != "" && !strings.HasPrefix(c.BasePath, "/") {
		errs = append(errs, fmt.Errorf("gatewaytest: Config.BasePath must begin with a slash: %q", c.BasePath))
	}
	if len(c.CAIDs) > 255 || slices.Contains(c.CAIDs, "") {
		errs = append(errs, errors.New("gatewaytest: Config.CAIDs must be at most 255 ids, none empty"))
	}
	for name, share := range map[string]float64{"PendingFraction": c.PendingFraction, "RejectFraction": c.RejectFraction} {
		if !(share >= 0 && share <= 1) {
			errs = append(errs, fmt.Errorf("gatewaytest: Config.%s must lie in [0,1], not %v", name, share))
		}
	}
	for name, d := range map[string]time.Duration{
		"Latency": c.Latency, "LatencyJitter": c.LatencyJitter, "ApproveAfter": c.ApproveAfter,
		"IdleTimeout": c.IdleTimeout, "Age": c.Age, "EventDelay": c.EventDelay, "DefaultValidity": c.DefaultValidity,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("gatewaytest: Config.%s must not be negative: %v", name, d))
		}
	}
	if c.DefaultValidity > c.MaxValidity {
		errs = append(errs, fmt.Errorf("gatewaytest: Config.DefaultValidity must not exceed MaxValidity: %v > %v", c.DefaultValidity, c.MaxValidity))
	}
	if c.EventFlag != "morePages" && c.EventFlag != "hasMore" && c.EventFlag != "both" {
		errs = append(errs, fmt.Errorf("gatewaytest: Config.EventFlag must be morePages, hasMore or both, not %q", c.EventFlag))
	}
	if c.Persist && c.Dir == "" {
		errs = append(errs, errors.New("gatewaytest: Config.Persist needs a Dir"))
	}
	for i, f := range c.Faults {
		if err := f.validate(); err != nil {
			errs = append(errs, fmt.Errorf("gatewaytest: Config.Faults[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// serverNames returns the DNS names and addresses of the server's certificate.
func (c Config) serverNames() (names []string, addrs []netip.Addr) {
	names = []string{"localhost"}
	addrs = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	for _, n := range c.Names {
		if a, err := netip.ParseAddr(n); err == nil {
			addrs = append(addrs, a)
		} else if n != "" {
			names = append(names, n)
		}
	}
	return names, addrs
}
