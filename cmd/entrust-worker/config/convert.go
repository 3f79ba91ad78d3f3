package config

import (
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Names that follow from the prefix stay within 64 characters.
const maxPrefix = 64 - len("_INCIDENTS")

var prefixRule = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

func validPrefix(prefix string) bool {
	return len(prefix) <= maxPrefix && prefixRule.MatchString(prefix)
}

// Layout is the JetStream side of the configuration. The names of streams and buckets
// follow from the prefix; the limits of the lanes over all workers from their
// concurrency; the window in which results are recognised from the longest poll wait.
func (c Config) Layout() streams.Layout {
	l := streams.DefaultLayout()
	name := strings.ToUpper(strings.ReplaceAll(c.Streams.Prefix, ".", "_"))
	l.Prefix = c.Streams.Prefix
	l.Requests, l.Parked, l.Results, l.Dead = name+"_REQUESTS", name+"_PARKED", name+"_RESULTS", name+"_DEAD"
	l.Orders, l.Control, l.Certs, l.Keys = name+"_ORDERS", name+"_CONTROL", name+"_CERTS", name+"_KEYS"
	if c.Gateway.Feed > 0 {
		l.Events = name + "_EVENTS"
	}
	l.Audit, l.Audited, l.Incidents = name+"_AUDIT", c.Audited(), name+"_INCIDENTS"
	l.AuditMaxBytes, l.AuditMaxAge = int64(c.Audit.MaxBytes), c.Audit.MaxAge
	l.Replicas = c.Replicas
	l.RequestsMaxBytes = int64(c.Streams.RequestsMaxBytes)
	l.ResultsMaxAge, l.OrdersMaxAge, l.DeadMaxAge = c.Streams.ResultsMaxAge, c.Streams.OrdersMaxAge, c.Streams.DeadMaxAge
	l.ResultsDuplicates = c.duplicates()
	l.AckWait = c.AckWait
	l.IssuePending = max(l.IssuePending, fleet*c.IssueConcurrency)
	l.RevokePending = max(l.RevokePending, fleet*c.RevokeConcurrency)
	l.ManagePending = max(l.ManagePending, fleet*c.ManageConcurrency)
	l.DuePending = max(l.DuePending, fleet*c.PollConcurrency)
	return l
}

// fleet is how many workers of this concurrency a lane has room for at least.
const fleet = 4

// duplicates is how long the server recognises a result that is published twice. It
// covers the time between two tries, and so three times the longest poll wait.
func (c Config) duplicates() time.Duration {
	return max(streams.DefaultLayout().ResultsDuplicates, 3*c.Poll.Max)
}

// Schedule is when a parked order is polled. A Retry-After for one order counts up to
// three times the longest wait.
func (c Config) Schedule() pollsched.Schedule {
	s := pollsched.Default()
	s.First, s.Max, s.RetryAfterMax = c.Poll.First, c.Poll.Max, 3*c.Poll.Max
	return s
}

// retryAfterMax caps the pause that the gateway's Retry-After asks for, so that a mistake
// cannot stop the work for days.
const retryAfterMax = time.Hour

// GatewayClient is what the gateway's client needs.
func (c Config) GatewayClient() gateway.Config {
	g := c.Gateway
	return gateway.Config{
		URL:       g.URL,
		CAID:      g.CAID,
		ProfileID: g.ProfileID,
		Dialect:   gateway.Dialect(g.Dialect),

		ProfileValidity: g.ProfileValidity,

		ClientID:      g.ClientID,
		EnrollTimeout: g.EnrollTimeout,
		Timeout:       g.Timeout,
		NotFoundGrace: g.NotFoundGrace,
		ThrottleFloor: g.ThrottleFloor,
		RetryAfterMax: retryAfterMax,
		Poll:          gateway.PollMode(g.Poll),
		PollPath:      g.PollPath,
		Words:         gateway.DefaultStatusWords(),
		FindSkew:      5 * time.Minute,
		FindMaxPages:  20,
	}
}

// Transport is what the key pair and its transport need.
func (c Config) Transport(log *slog.Logger) mtlscache.Config {
	g := c.Gateway
	return mtlscache.Config{
		CertFile:           g.ClientCertPath,
		KeyFile:            g.ClientKeyPath.Reveal(),
		KeyPasswordFile:    g.KeyPasswordFile.Reveal(),
		PKCS12File:         g.ClientP12Path.Reveal(),
		PKCS12PasswordFile: g.P12PasswordFile.Reveal(),
		ServerCAFile:       g.ServerCAPath,
		Renegotiation:      g.Renegotiation,
		// Every call that the lanes can make at once finds a connection; one more is
		// for the probe.
		MaxConnsPerHost:  c.IssueConcurrency + c.RevokeConcurrency + c.PollConcurrency + c.ManageConcurrency + 1,
		DialTimeout:      g.ConnectTimeout,
		TLSTimeout:       g.ConnectTimeout,
		IdleConnTimeout:  g.IdleTimeout,
		HalfRotationWait: 2 * time.Second,
		DialContext:      gateway.HearAlerts(nil),
		Log:              log,
	}
}
