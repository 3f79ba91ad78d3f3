package config

import (
	"net/url"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// checkGateway checks the group of keys that say how to reach the CA Gateway.
func (s *Settings) checkGateway(c *checker) {
	g := s.Gateway
	for _, k := range []struct{ key, value string }{{"gateway.url", g.URL}, {"gateway.ca_id", g.CAID}} {
		if strings.TrimSpace(k.value) == "" {
			c.add(k.key, "must be set")
		}
	}
	if g.URL != "" {
		checkURL(c, g.URL)
	}
	s.checkKeyPair(c)
	c.oneOf("gateway.approval", g.Approval, ApprovalUnknown, ApprovalNever)
	c.oneOf("gateway.issue_crl", g.IssueCRL, consumer.CRLEach, consumer.CRLBulk, consumer.CRLRequest)
	c.oneOf("gateway.unverified_keys", g.UnverifiedKeys, UnverifiedPass, UnverifiedRefuse)
	if strings.ContainsFunc(g.ClientID, func(r rune) bool { return r < ' ' || r > '~' }) {
		c.add("gateway.client_id", "must be printable ASCII")
	}
	c.oneOf("gateway.dialect", g.Dialect, "auto", "certctl", "cagw")
	c.oneOf("gateway.poll", g.Poll, "auto", "enrollment", "events")
	if g.Poll == string(gateway.PollEvents) && g.Dialect == string(gateway.DialectCertctl) {
		c.relation("gateway.poll", "must not be events with", "gateway.dialect", "%s, %s: certctl has no events", g.Poll, g.Dialect)
	}
	if _, err := consumer.NewProperties(g.Properties); err != nil {
		c.add("gateway.properties", "are wrong: %v", err)
	}
	if len(g.Properties) > 0 && g.Dialect == string(gateway.DialectCertctl) {
		c.relation("gateway.properties", "must not be set with", "gateway.dialect", "%s has no properties", g.Dialect)
	}
	if g.Feed != 0 {
		between(c, "gateway.feed", g.Feed, 10*time.Second, 24*time.Hour)
		if g.Dialect == string(gateway.DialectCertctl) {
			c.relation("gateway.feed", "must not be set with", "gateway.dialect", "%s has no events", g.Dialect)
		}
	}
	between(c, "gateway.enroll_timeout", g.EnrollTimeout, time.Second, time.Hour)
	between(c, "gateway.timeout", g.Timeout, time.Second, time.Hour)
	between(c, "gateway.idle_timeout", g.IdleTimeout, 100*time.Millisecond, 10*time.Minute)
	between(c, "gateway.connect_timeout", g.ConnectTimeout, 100*time.Millisecond, time.Minute)
	between(c, "gateway.event_delay", g.EventDelay, time.Millisecond, time.Hour)
	between(c, "gateway.not_found_grace", g.NotFoundGrace, time.Second, 24*time.Hour)
	between(c, "gateway.throttle_floor", g.ThrottleFloor, time.Millisecond, retryAfterMax)
	between(c, "gateway.rate", g.Rate, 0, 1e6)
	between(c, "gateway.fleet_rate", g.FleetRate, 0, 1e6)
	if g.Timeout >= s.AckWait {
		c.relation("gateway.timeout", "must be below", "ack_wait", "%v !< %v", g.Timeout, s.AckWait)
	}
	if g.ConnectTimeout > g.Timeout {
		c.relation("gateway.connect_timeout", "must not exceed", "gateway.timeout", "%v !<= %v", g.ConnectTimeout, g.Timeout)
	}
	if _, err := url.Parse("https://gateway/" + g.PollPath); err != nil || !strings.Contains(g.PollPath, "{trackingId}") || strings.ContainsAny(g.PollPath, "?#") {
		c.add("gateway.poll_path", "must be a path with {trackingId} in it, without ? and #, is %q", g.PollPath)
	}
}

// checkURL refuses what is not the base of a gateway. It quotes nothing: the URL may hold
// a password.
func checkURL(c *checker, raw string) {
	const key = "gateway.url"
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		c.add(key, "cannot be parsed as a URL")
	case u.Scheme != "https":
		c.add(key, "must begin with https://, since the gateway identifies its clients by mutual TLS")
	case u.Host == "":
		c.add(key, "must name a host")
	case u.User != nil:
		c.add(key, "must not hold a user or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		c.add(key, "must not hold a query or fragment")
	}
}

// checkKeyPair checks that exactly one form of the client's key pair is configured.
func (s *Settings) checkKeyPair(c *checker) {
	g := s.Gateway
	switch pair := g.ClientCertPath != "" || g.ClientKeyPath != ""; {
	case pair && g.ClientP12Path != "":
		c.found = append(c.found, &FieldError{
			Key: "gateway.client_p12_path", Problem: "must not be set beside gateway.client_cert_path and gateway.client_key_path",
			Others: []string{"gateway.client_cert_path", "gateway.client_key_path"},
		})
	case pair && g.ClientCertPath == "":
		c.add("gateway.client_cert_path", "must be set beside gateway.client_key_path")
	case pair && g.ClientKeyPath == "":
		c.add("gateway.client_key_path", "must be set beside gateway.client_cert_path")
	case !pair && g.ClientP12Path == "":
		c.add("gateway.client_cert_path", "and gateway.client_key_path, or gateway.client_p12_path, must be set")
	}
	if g.KeyPasswordFile != "" && g.ClientKeyPath == "" {
		c.add("gateway.client_key_password_file", "needs gateway.client_key_path")
	}
	if g.P12PasswordFile != "" && g.ClientP12Path == "" {
		c.add("gateway.client_p12_password_file", "needs gateway.client_p12_path")
	}
}
