package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// Words that more than one place compares with.
const (
	approvalUnknown = "unknown"
	approvalNever   = "never"

	onLostReplyHold     = "hold"
	onLostReplyResubmit = "resubmit"
)

// problems collects what is wrong with a configuration.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p *problems) join(err error) {
	if err != nil {
		*p = append(*p, err)
	}
}

// err is a usage error with everything that was added, or nil.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &usageError{errors.Join(p...)}
}

// validateBus checks what every verb needs: the NATS connection, the streams, the log.
func (c Config) validateBus() error {
	var p problems
	for u := range strings.SplitSeq(c.NATS.URL, ",") {
		// The parser's own error would quote a password. Without a scheme, as in
		// "localhost:4222", nats.go adds its own.
		u = strings.TrimSpace(u)
		if !strings.Contains(u, "://") {
			u = "nats://" + u
		}
		if parsed, err := url.Parse(u); err != nil || parsed.Host == "" {
			p.add("nats.url must be server URLs separated by commas")
		}
	}
	if (c.NATS.TLSCert == "") != (c.NATS.TLSKey == "") {
		p.add("nats.tls_cert and nats.tls_key must be set together: %q, %q", c.NATS.TLSCert, c.NATS.TLSKey)
	}
	if c.NATS.JSDomain != "" && c.NATS.JSAPIPrefix != "" {
		p.add("nats.js_domain and nats.js_api_prefix must not both be set: %q, %q", c.NATS.JSDomain, c.NATS.JSAPIPrefix)
	}
	if c.NATS.SOCKSProxy != "" {
		if u, err := url.Parse(c.NATS.SOCKSProxy); err != nil || u.Host == "" || u.Scheme != "socks5" && u.Scheme != "socks5h" {
			p.add("nats.socks_proxy must be a URL such as socks5://proxy:1080")
		}
	}
	between(&p, "nats.timeout", c.NATS.Timeout, 100*time.Millisecond, time.Minute)
	p.join(inKeys(c.layout().Validate(), streamWords))
	oneOf(&p, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(&p, "log.format", c.Log.Format, "auto", "text", "json")
	return p.err()
}

// validate checks everything a worker needs, and the relations among it. Messages about
// a relation hold both values.
func (c Config) validate() error {
	var p problems
	p.join(c.validateBus())
	c.validateGateway(&p)
	c.validatePoll(&p)

	for _, l := range []struct {
		name, limit string
		got, max    int
	}{
		{"issue_concurrency", "streams.issue_pending", c.IssueConcurrency, c.Streams.IssuePending},
		{"revoke_concurrency", "streams.revoke_pending", c.RevokeConcurrency, c.Streams.RevokePending},
		{"order_concurrency", "streams.order_pending", c.OrderConcurrency, c.Streams.OrderPending},
		{"poll_concurrency", "streams.due_pending", c.PollConcurrency, c.Streams.DuePending},
	} {
		between(&p, l.name, l.got, 1, 10000)
		if l.got > l.max {
			p.add("%s must not exceed %s: %d !<= %d", l.name, l.limit, l.got, l.max)
		}
	}
	between(&p, "drain", c.Drain, time.Millisecond, 24*time.Hour)
	between(&p, "watchdog_every", c.WatchdogEvery, 10*time.Second, 24*time.Hour)
	oneOf(&p, "on_lost_reply", c.OnLostReply, onLostReplyHold, onLostReplyResubmit)
	if c.HTTP.Addr != "" {
		if _, _, err := net.SplitHostPort(c.HTTP.Addr); err != nil {
			p.add("http.addr must be host:port, is %q", c.HTTP.Addr)
		}
	}
	if c.HTTP.Pprof && c.HTTP.Addr == "" {
		p.add("http.pprof needs http.addr")
	}
	return p.err()
}

// Problems of a gateway configuration that is not there at all get a hint.
const gatewayHint = "set CERTCTL_ENTRUST_API_URL, _CA_ID, _CLIENT_CERT_PATH and _CLIENT_KEY_PATH, or the keys in a file"

func (c Config) validateGateway(p *problems) {
	g := c.Gateway
	missing := false
	need := func(name, value string) {
		if value == "" {
			p.add("%s must be set", name)
			missing = true
		}
	}
	need("gateway.url", g.URL)
	need("gateway.ca_id", g.CAID)
	switch pair := g.ClientCertPath != "" || g.ClientKeyPath != ""; {
	case pair && g.ClientP12Path != "":
		p.add("gateway.client_p12_path must not be set beside gateway.client_cert_path and client_key_path: %q, %q, %q",
			g.ClientP12Path, g.ClientCertPath, g.ClientKeyPath)
	case pair:
		need("gateway.client_cert_path", g.ClientCertPath)
		need("gateway.client_key_path", g.ClientKeyPath)
	case g.ClientP12Path == "":
		p.add("gateway.client_cert_path and gateway.client_key_path, or gateway.client_p12_path, must be set")
		missing = true
	}
	if g.P12PasswordFile != "" && g.ClientP12Path == "" {
		p.add("gateway.client_p12_password_file needs gateway.client_p12_path")
	}
	oneOf(p, "gateway.approval", g.Approval, approvalUnknown, approvalNever)
	oneOf(p, "gateway.dialect", g.Dialect, "auto", "certctl", "cagw")
	between(p, "gateway.enroll_timeout", g.EnrollTimeout, time.Second, time.Hour)
	between(p, "gateway.timeout", g.Timeout, time.Second, time.Hour)
	between(p, "gateway.connect_timeout", g.ConnectTimeout, 100*time.Millisecond, time.Minute)
	between(p, "gateway.idle_timeout", g.IdleTimeout, 100*time.Millisecond, time.Hour)
	between(p, "gateway.half_rotation_wait", g.HalfRotationWait, 100*time.Millisecond, time.Minute)
	between(p, "gateway.event_delay", g.EventDelay, time.Millisecond, time.Hour)
	between(p, "gateway.not_found_grace", g.NotFoundGrace, time.Second, 24*time.Hour)
	between(p, "gateway.throttle_floor", g.ThrottleFloor, time.Millisecond, time.Hour)
	between(p, "gateway.reconcile_skew", g.ReconcileSkew, time.Second, 24*time.Hour)
	between(p, "gateway.reconcile_max_pages", g.ReconcileMaxPages, 1, 1000)
	between(p, "gateway.rate", g.Rate, 0, 1e6)
	between(p, "gateway.fleet_rate", g.FleetRate, 0, 1e6)
	if g.Timeout >= c.AckWait {
		p.add("gateway.timeout must be below ack_wait: %v !< %v", g.Timeout, c.AckWait)
	}
	if g.ConnectTimeout > g.Timeout {
		p.add("gateway.connect_timeout must not exceed gateway.timeout: %v !<= %v", g.ConnectTimeout, g.Timeout)
	}
	if g.RetryAfterMax < g.ThrottleFloor {
		p.add("gateway.retry_after_max must not be below gateway.throttle_floor: %v !>= %v", g.RetryAfterMax, g.ThrottleFloor)
	}
	// The client checks the same and more. What was told above is not told again.
	if !missing {
		checked := c.gatewayConfig()
		checked.Dialect, checked.RetryAfterMax = gateway.DialectAuto, max(checked.RetryAfterMax, checked.ThrottleFloor)
		p.join(inKeys(checked.Validate(), gatewayWords))
	}
}

func (c Config) validatePoll(p *problems) {
	p.join(inKeys(c.schedule().Validate(), pollWords))
	between(p, "poll.max_wait", c.Poll.MaxWait, time.Second, math.MaxInt64)
	if c.Poll.MaxWait > c.Poll.MaxWaitLimit {
		p.add("poll.max_wait must not exceed poll.max_wait_limit: %v !<= %v", c.Poll.MaxWait, c.Poll.MaxWaitLimit)
	}
	if least := 3 * c.Poll.Max; c.Streams.ResultsDuplicates < least {
		p.add("streams.results_duplicates must be at least three times poll.max: %v !>= 3 x %v", c.Streams.ResultsDuplicates, c.Poll.Max)
	}
	// A parked order's ledger record is renewed by its polls.
	if longest := max(c.Poll.Max, c.Poll.RetryAfterMax); longest >= c.Streams.OrdersMaxAge/4 {
		p.add("the longest wait between two polls must be below a quarter of streams.orders_max_age: %v !< %v / 4", longest, c.Streams.OrdersMaxAge)
	}
}

func between[T int | float64 | time.Duration](p *problems, name string, got, low, high T) {
	if !(got >= low && got <= high) { // negated for NaN
		p.add("%s must be %v to %v, is %v", name, low, high, got)
	}
}

func oneOf(p *problems, name, got string, words ...string) {
	if !slices.Contains(words, got) {
		p.add("%s must be %s, is %q", name, strings.Join(words, " or "), got)
	}
}
