package config

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A relation that does not hold is reported with both values, by key.
func TestRelations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"gateway.timeout": {func(s *Settings) { s.Gateway.Timeout, s.AckWait = 45*time.Second, 30*time.Second }, "gateway.timeout must be below ack_wait: 45s !< 30s"},
		"gateway.connect_timeout": {func(s *Settings) { s.Gateway.ConnectTimeout = 40 * time.Second },
			"gateway.connect_timeout must not exceed gateway.timeout: 40s !<= 30s"},
		"key password without a key": {func(s *Settings) {
			s.Gateway.ClientCertPath, s.Gateway.ClientKeyPath, s.Gateway.ClientP12Path, s.Gateway.KeyPasswordFile = "", "", "p", "w"
		}, "gateway.client_key_password_file needs gateway.client_key_path"},
		"poll.max":        {func(s *Settings) { s.Poll.Max = time.Second }, "poll.max must not be below poll.first: 1s !>= 5s"},
		"poll.max of age": {func(s *Settings) { s.Poll.Max = 72 * time.Hour }, "poll.max must be below a twelfth of streams.orders_max_age: 12 x 72h0m0s !< 720h0m0s"},
		"poll.max_wait":   {func(s *Settings) { s.Poll.MaxWait = 721 * time.Hour }, "poll.max_wait must not exceed poll.max_wait_limit: 721h0m0s !<= 720h0m0s"},
		"submit_max_wait": {func(s *Settings) { s.SubmitMaxWait = 720 * time.Hour }, "submit_max_wait must be below streams.orders_max_age: 720h0m0s !< 720h0m0s"},
		"streams.orders_max_age": {func(s *Settings) { s.Streams.OrdersMaxAge = 24 * time.Hour },
			"streams.orders_max_age must not be below streams.results_max_age: 24h0m0s !>= 720h0m0s"},
		"format":          {func(s *Settings) { s.Format = 2 }, "format must be 1 to 1, is 2"},
		"idle timeout":    {func(s *Settings) { s.Gateway.IdleTimeout = time.Millisecond }, `gateway.idle_timeout must be 100ms to 10m0s, is 1ms`},
		"rollback window": {func(s *Settings) { s.RollbackWindow = 25 * time.Hour }, `rollback_window must be 0s to 24h0m0s, is 25h0m0s`},
		"on_rollback":     {func(s *Settings) { s.OnRollback = "ignore" }, `on_rollback must be lookup or hold or resubmit, is "ignore"`},
		"short token":     {func(s *Settings) { s.HTTP.Token = "fifteen-letters" }, `http.token must be 16 to 256 visible ASCII characters`},
		"token of words":  {func(s *Settings) { s.HTTP.Token = "sixteen letters!" }, `http.token must be 16 to 256 visible ASCII characters`},
		"streams.prefix":  {func(s *Settings) { s.Streams.Prefix = strings.Repeat("x", 55) }, "streams.prefix must be subject tokens of letters, digits, _ and -, 54 characters at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := enough()
			tc.change(s)
			err := s.CheckWorker()
			field, ok := errors.AsType[*FieldError](err)
			if !ok || field.Key != strings.Fields(tc.want)[0] || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// What passes here, the packages below take: validation is in one place.
func TestValidIsValidBelow(t *testing.T) {
	t.Parallel()
	durations := []time.Duration{0, time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour, 720 * time.Hour, 10000 * time.Hour}
	passed := 0
	rapid.Check(t, func(t *rapid.T) {
		s := enough()
		// Few changes at a time, so that some pass.
		for _, change := range rapid.SliceOfN(rapid.IntRange(0, 11), 0, 3).Draw(t, "changes") {
			d := rapid.SampledFrom(durations).Draw(t, "duration")
			n := rapid.SampledFrom([]int{-1, 0, 1, 2, 5, 6, 10000, 10001}).Draw(t, "number")
			switch change {
			case 0:
				s.Poll.First = d
			case 1:
				s.Poll.Max = d
			case 2:
				s.Gateway.Timeout = d
			case 3:
				s.Gateway.ThrottleFloor = d
			case 4:
				s.Streams.ResultsMaxAge = d
			case 5:
				s.Streams.DeadMaxAge = d
			case 6:
				s.AckWait = d
			case 7:
				s.Replicas, s.IssueConcurrency = n, n
			case 8:
				s.Streams.Prefix = rapid.SampledFrom([]string{"", "a", "a.b", "a..b", "a.", "ä", "a b", strings.Repeat("p", 54), strings.Repeat("p", 55), "*"}).Draw(t, "prefix")
			case 9:
				s.Gateway.URL = rapid.SampledFrom([]string{"", "http://h", "https://h", "https://h/v1", "https://u@h", "https://h?q", "https://", "https://h/%zz", ":"}).Draw(t, "url")
			case 11:
				s.Streams.OrdersMaxAge = d
			case 10:
				s.Gateway.PollPath = rapid.SampledFrom([]string{"", "a/{trackingId}", "a", "a/{trackingId}?x", "%zz{trackingId}"}).Draw(t, "path")
			}
		}
		if s.CheckWorker() != nil {
			return
		}
		passed++
		if err := errors.Join(s.Layout().Validate(), s.Schedule().Validate(), s.GatewayClient().Validate()); err != nil {
			t.Fatalf("passes here and not below: %v\n%+v", err, s.Config)
		}
	})
	if passed == 0 {
		t.Error("nothing passed, so nothing was tested")
	}
}

// Names, limits and windows that follow from other keys.
func TestLayoutFollows(t *testing.T) {
	t.Parallel()
	c := Default()
	if l := c.Layout(); l.Requests != "ENTRUST_REQUESTS" || l.Control != "ENTRUST_CONTROL" || l.IssuePending != 4096 || l.ManagePending != 1024 || l.ResultsDuplicates != 15*time.Minute {
		t.Errorf("by default: %+v", l)
	}
	c.Streams.Prefix, c.IssueConcurrency, c.Poll.Max, c.Streams.OrdersMaxAge = "other.pki", 2000, time.Hour, 40*24*time.Hour
	if l := c.Layout(); l.Prefix != "other.pki" || l.Dead != "OTHER_PKI_DEAD" || l.Orders != "OTHER_PKI_ORDERS" ||
		l.IssuePending != 8000 || l.ResultsDuplicates != 3*time.Hour || l.OrdersMaxAge != 40*24*time.Hour {
		t.Errorf("changed: %+v", l)
	}
}

// YAML has its own mind about bare words: text is taken as written or refused.
func TestTextInYAML(t *testing.T) {
	t.Parallel()
	for raw, want := range map[any]string{"0123": "", 83: "put it in quotes", 1000.0: "put it in quotes", true: "put it in quotes", "a\nb": "one line", "a\n": ""} {
		v, err := Key{kind: keyOf(t, "gateway.profile_id").kind}.parse(raw, false)
		switch {
		case want == "" && (err != nil || v.String() != strings.TrimSpace(raw.(string))):
			t.Errorf("%#v: got %v, %v", raw, v, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%#v: got %v, want %q", raw, err, want)
		}
	}
}

func keyOf(t *testing.T, path string) Key {
	t.Helper()
	for _, k := range KeysAndForms() {
		if k.Path == path {
			return k
		}
	}
	t.Fatalf("no key %s", path)
	return Key{}
}
