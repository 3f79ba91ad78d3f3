package main

import (
	"log/slog"
	"net/url"
	"strings"

	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// layout is the JetStream side of the configuration.
func (c Config) layout() streams.Layout {
	s := c.Streams
	return streams.Layout{
		Prefix:             s.Prefix,
		Requests:           s.Requests,
		Parked:             s.Parked,
		Results:            s.Results,
		Dead:               s.Dead,
		Orders:             s.Orders,
		Control:            s.Control,
		Replicas:           c.Replicas,
		RequestsMaxBytes:   int64(s.RequestsMaxBytes),
		RequestsDuplicates: s.RequestsDuplicates,
		ResultsDuplicates:  s.ResultsDuplicates,
		ResultsMaxAge:      s.ResultsMaxAge,
		DeadMaxAge:         s.DeadMaxAge,
		OrdersMaxAge:       s.OrdersMaxAge,
		AckWait:            c.AckWait,
		IssuePending:       s.IssuePending,
		RevokePending:      s.RevokePending,
		OrderPending:       s.OrderPending,
		DuePending:         s.DuePending,
	}
}

func (c Config) schedule() pollsched.Schedule {
	return pollsched.Schedule{
		First:         c.Poll.First,
		Max:           c.Poll.Max,
		Factor:        c.Poll.Factor,
		Jitter:        c.Poll.Jitter,
		RetryAfterMax: c.Poll.RetryAfterMax,
	}
}

func (c Config) gatewayConfig() gateway.Config {
	g := c.Gateway
	return gateway.Config{
		URL:           g.URL,
		CAID:          g.CAID,
		ProfileID:     g.ProfileID,
		Dialect:       gateway.Dialect(g.Dialect),
		EnrollTimeout: g.EnrollTimeout,
		Timeout:       g.Timeout,
		NotFoundGrace: g.NotFoundGrace,
		ThrottleFloor: g.ThrottleFloor,
		RetryAfterMax: g.RetryAfterMax,
		PollPath:      g.PollPath,
		Words: gateway.StatusWords{
			Issued:   g.IssuedWords,
			Pending:  g.PendingWords,
			Rejected: g.RejectedWords,
		},
		FindSkew:     g.ReconcileSkew,
		FindMaxPages: g.ReconcileMaxPages,
	}
}

func (c Config) transportConfig(log *slog.Logger) mtlscache.Config {
	g := c.Gateway
	return mtlscache.Config{
		CertFile:           g.ClientCertPath,
		KeyFile:            g.ClientKeyPath,
		PKCS12File:         g.ClientP12Path,
		PKCS12PasswordFile: g.P12PasswordFile,
		ServerCAFile:       g.ServerCAPath,
		// Every call that the lanes can make at once finds a connection; one more is
		// for the probe.
		MaxConnsPerHost:    c.IssueConcurrency + c.RevokeConcurrency + c.PollConcurrency + c.OrderConcurrency + 1,
		DialTimeout:        g.ConnectTimeout,
		TLSTimeout:         g.ConnectTimeout,
		IdleConnTimeout:    g.IdleTimeout,
		AllowRenegotiation: g.Renegotiation,
		HalfRotationWait:   g.HalfRotationWait,
		DialContext:        gateway.HearAlerts(nil),
		Log:                log,
	}
}

func (c Config) consumerConfig(metrics *consumer.Metrics) consumer.Config {
	return consumer.Config{
		Layout:        c.layout(),
		CAID:          c.Gateway.CAID,
		ProfileID:     c.Gateway.ProfileID,
		Issue:         c.IssueConcurrency,
		Revoke:        c.RevokeConcurrency,
		Poll:          c.PollConcurrency,
		Order:         c.OrderConcurrency,
		Schedule:      c.schedule(),
		MaxWait:       c.Poll.MaxWait,
		MaxWaitLimit:  c.Poll.MaxWaitLimit,
		EnrollTimeout: c.Gateway.EnrollTimeout,
		EventDelay:    c.Gateway.EventDelay,
		OnLostReply:   c.OnLostReply,
		ApprovalNever: c.Gateway.Approval == approvalNever,
		Rate:          c.Gateway.Rate,
		FleetRate:     c.Gateway.FleetRate,
		Drain:         c.Drain,
		WatchdogEvery: c.WatchdogEvery,
		Metrics:       metrics,
	}
}

// redactedURLs are URLs without their passwords.
func redactedURLs(list string) string {
	parts := strings.Split(list, ",")
	for i, u := range parts {
		u = strings.TrimSpace(u)
		if parts[i] = u; u == "" {
			continue
		}
		scheme, rest, found := strings.Cut(u, "://")
		if !found {
			scheme, rest = "nats", u
		}
		// A password may hold an @, and even what ends the authority.
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			parts[i] = scheme + "://" + redacted + "@" + rest[at+1:]
		} else if _, err := url.Parse(scheme + "://" + rest); err != nil {
			parts[i] = redacted // such as the first half of a password with a comma in it
		}
	}
	return strings.Join(parts, ",")
}
