package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// Validation happens here and nowhere else: what passes is valid for the packages below.

// checker collects what is wrong with a configuration.
type checker struct{ found []*FieldError }

func (c *checker) add(key, format string, args ...any) {
	c.found = append(c.found, &FieldError{Key: key, Problem: fmt.Sprintf(format, args...)})
}

// relation reports that a does not stand to b as it must, with both values.
func (c *checker) relation(a, must, b string, values string, args ...any) {
	c.found = append(c.found, &FieldError{Key: a, Problem: must + " " + b + ": " + fmt.Sprintf(values, args...), Others: []string{b}})
}

func between[T int | float64 | time.Duration](c *checker, key string, got, low, high T) {
	if !(got >= low && got <= high) { // negated for NaN
		c.add(key, "must be %v to %v, is %v", low, high, got)
	}
}

func (c *checker) oneOf(key, got string, words ...string) {
	if !slices.Contains(words, got) {
		c.add(key, "must be %s, is %q", strings.Join(words, " or "), got)
	}
}

// CheckBus checks what every verb needs: the NATS connection, the streams, the log. The
// error joins a FieldError for each problem.
func (s *Settings) CheckBus() error {
	var c checker
	s.checkBus(&c)
	return s.wrong(&c, "entrust-worker config shows every value and where it came from")
}

// CheckWorker checks everything that a worker needs, and the relations among it.
func (s *Settings) CheckWorker() error {
	var c checker
	s.checkBus(&c)
	s.checkGateway(&c)
	s.checkPoll(&c)
	s.checkWorker(&c)
	hint := "entrust-worker config shows every value and where it came from"
	if s.Gateway.URL == "" || s.Gateway.CAID == "" {
		hint = "set CERTCTL_ENTRUST_API_URL, _CA_ID, _CLIENT_CERT_PATH and _CLIENT_KEY_PATH, or the keys in a file; entrust-worker config shows what is set"
	}
	return s.wrong(&c, hint)
}

func (s *Settings) wrong(c *checker, hint string) error {
	if len(c.found) == 0 {
		return nil
	}
	return usage.WithHint(usage.Wrap(s.sourced(c.found)), "%s", hint)
}

func (s *Settings) checkBus(c *checker) {
	n := s.NATS
	for u := range strings.SplitSeq(n.URL, ",") {
		// The parser's own error would quote a password. Without a scheme, as in
		// "localhost:4222", nats.go adds its own.
		u = strings.TrimSpace(u)
		if !strings.Contains(u, "://") {
			u = "nats://" + u
		}
		if parsed, err := url.Parse(u); err != nil || parsed.Host == "" {
			c.add("nats.url", "must be server URLs separated by commas")
		}
	}
	if (n.TLSCert == "") != (n.TLSKey == "") {
		c.found = append(c.found, &FieldError{Key: "nats.tls_cert", Problem: "and nats.tls_key must be set together", Others: []string{"nats.tls_key"}})
	}
	if s.Credentials == "nats.user" && n.User == "" {
		c.add("nats.password", "needs nats.user")
	}
	between(c, "nats.timeout", n.Timeout, 100*time.Millisecond, time.Minute)
	s.checkStreams(c)
	s.checkAudit(c)
	c.oneOf("log.level", s.Log.Level, "debug", "info", "warn", "error")
	c.oneOf("log.format", s.Log.Format, "auto", "text", "json")
}

func (s *Settings) checkStreams(c *checker) {
	if !validPrefix(s.Streams.Prefix) {
		c.add("streams.prefix", "must be subject tokens of letters, digits, _ and -, %d characters at most: %q", maxPrefix, s.Streams.Prefix)
	}
	if s.Streams.RequestsMaxBytes < 1<<20 {
		c.add("streams.requests_max_bytes", "must be at least 1MiB, is %v", s.Streams.RequestsMaxBytes)
	}
	if s.Streams.ResultsMaxAge < time.Hour {
		c.add("streams.results_max_age", "must be at least 1h, is %v", s.Streams.ResultsMaxAge)
	}
	if s.Streams.OrdersMaxAge < s.Streams.ResultsMaxAge {
		c.relation("streams.orders_max_age", "must not be below", "streams.results_max_age", "%v !>= %v", s.Streams.OrdersMaxAge, s.Streams.ResultsMaxAge)
	}
	if s.Streams.DeadMaxAge < time.Second {
		c.add("streams.dead_max_age", "must be at least 1s, is %v", s.Streams.DeadMaxAge)
	}
	between(c, "ack_wait", s.AckWait, time.Second, time.Hour)
	between(c, "replicas", s.Replicas, 1, 5)
	// The duplicate window follows from poll.max, and ends with the results.
	if window := s.duplicates(); window > s.Streams.ResultsMaxAge && s.Streams.ResultsMaxAge >= time.Hour {
		c.relation("poll.max", "must be at most a third of", "streams.results_max_age", "3 x %v !<= %v", s.Poll.Max, s.Streams.ResultsMaxAge)
	}
}

func (s *Settings) checkWorker(c *checker) {
	for _, l := range []struct {
		key string
		got int
	}{
		{"issue_concurrency", s.IssueConcurrency}, {"revoke_concurrency", s.RevokeConcurrency},
		{"poll_concurrency", s.PollConcurrency}, {"manage_concurrency", s.ManageConcurrency},
	} {
		between(c, l.key, l.got, 1, 10000)
	}
	between(c, "drain", s.Drain, time.Millisecond, 24*time.Hour)
	between(c, "watchdog_every", s.WatchdogEvery, 10*time.Second, 24*time.Hour)
	c.oneOf("on_lost_reply", s.OnLostReply, Hold, Resubmit)
	c.oneOf("on_rollback", s.OnRollback, Lookup, Hold, Resubmit)
	between(c, "rollback_window", s.RollbackWindow, 0, 24*time.Hour)
	between(c, "format", s.Format, 1, maxFormat)
	if s.SubmitMaxWait < time.Minute {
		c.add("submit_max_wait", "must be at least 1m, is %v", s.SubmitMaxWait)
	}
	if s.SubmitMaxWait >= s.Streams.OrdersMaxAge {
		c.relation("submit_max_wait", "must be below", "streams.orders_max_age", "%v !< %v", s.SubmitMaxWait, s.Streams.OrdersMaxAge)
	}
	if s.HTTP.Addr != "" {
		if _, _, err := net.SplitHostPort(s.HTTP.Addr); err != nil {
			c.add("http.addr", "must be host:port, is %q", s.HTTP.Addr)
		}
	}
	if t := s.HTTP.Token.Reveal(); t != "" && !pageToken(t) {
		c.add("http.token", "must be %d to %d visible ASCII characters", minToken, maxToken)
	}
	if s.HTTP.Pprof && s.HTTP.Addr == "" {
		c.add("http.pprof", "needs http.addr")
	}
}

// minToken and maxToken bound the token of the status page: a shorter one can be guessed.
const (
	minToken = 16
	maxToken = 256
)

// pageToken reports whether a text can be a bearer token, and is long enough for one.
func pageToken(t string) bool {
	visible := strings.IndexFunc(t, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
	return visible && len(t) >= minToken && len(t) <= maxToken
}

func (s *Settings) checkPoll(c *checker) {
	p := s.Poll
	if p.First < time.Millisecond {
		c.add("poll.first", "must be at least 1ms, is %v", p.First)
	}
	if p.Max < p.First {
		c.relation("poll.max", "must not be below", "poll.first", "%v !>= %v", p.Max, p.First)
	}
	if p.MaxWait < time.Second {
		c.add("poll.max_wait", "must be at least 1s, is %v", p.MaxWait)
	}
	if p.MaxWait > p.MaxWaitLimit {
		c.relation("poll.max_wait", "must not exceed", "poll.max_wait_limit", "%v !<= %v", p.MaxWait, p.MaxWaitLimit)
	}
	// A poll renews the ledger record of its order.
	if longest := s.Schedule().RetryAfterMax; longest >= s.Streams.OrdersMaxAge/4 {
		c.relation("poll.max", "must be below a twelfth of", "streams.orders_max_age", "12 x %v !< %v", p.Max, s.Streams.OrdersMaxAge)
	}
}
