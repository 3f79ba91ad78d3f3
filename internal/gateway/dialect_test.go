package gateway

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestProbeOfCertctl: the dialect's connector requires a 200 and ignores the body. The client
// refuses a body that is no JSON object.
func TestProbeOfCertctl(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Fate{
		``: 0, "\n": 0, `{}`: 0, `{"hello":"world"}`: 0, `{"error":"no"}`: Refused,
		`<html>log in</html>`: Unreadable, // the page of another server
	} {
		c := newClient(t, Config{Dialect: DialectCertctl}, always(200, body))
		if err := c.Probe(t.Context()); FateOf(err) != want {
			t.Errorf("%q: %v, want fate %v", body, err, want)
		}
	}
	if err := newClient(t, Config{Dialect: DialectCAGW}, always(200, ``)).Probe(t.Context()); FateOf(err) != Unreadable {
		t.Errorf("cagw: %v, want Unreadable", err)
	}
}

func TestAutoDialect(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		status  int
		body    string
		dialect Dialect
		probe   Fate // of Probe
		poll    Fate // of a poll while the dialect is unknown; 0: it was sent
	}{
		{"nested", 200, `{"ca":{"id":"ca-1"}}`, DialectCAGW, 0, 0},
		{"flat", 200, `{"caId":"ca-1","name":"x"}`, DialectCertctl, 0, 0},
		{"neither", 200, `{"hello":"world"}`, DialectAuto, Unreadable, NotAccepted},
		{"HTML", 200, `<html>log in</html>`, DialectAuto, Unreadable, NotAccepted},
		{"null", 200, `{"ca":null}`, DialectAuto, Unreadable, NotAccepted},
		{"error under 200", 200, `{"type":"ErrorResponse","error":{"code":"x"}}`, DialectAuto, Refused, NotAccepted},
		{"unknown CA", 404, `{"type":"ErrorResponse","error":{"code":"cagw-4018","message":"CA not found"}}`, DialectAuto, Refused, NotAccepted},
		{"throttled", 429, `TooManyRequests`, DialectAuto, Throttled, Throttled},
		{"not known", 403, ``, DialectAuto, Unauthorized, Unauthorized},
		{"down", 503, ``, DialectAuto, NotAccepted, NotAccepted},
		{"broken", 500, ``, DialectAuto, Unknown, NotAccepted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sent := false
			c := newClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/enrollments") {
					sent = true
					always(200, `{"trackingId":"t","status":"PENDING","enrollment":{"id":"t","status":"PENDING"}}`)(w, r)
					return
				}
				always(tt.status, tt.body)(w, r)
			})
			if c.CanFind() {
				t.Error("CanFind before the dialect is known")
			}
			_, err := c.Poll(t.Context(), Poll{TrackingID: "t"})
			if got := FateOf(err); got != tt.poll {
				t.Errorf("Poll: %v, want fate %v", err, tt.poll)
			}
			if sent != (tt.poll == 0) {
				t.Errorf("the poll was sent: %v", sent)
			}
			if tt.poll == Throttled && err.(*Error).RetryAfter == 0 {
				t.Error("the throttled poll has no RetryAfter")
			}
			if got := FateOf(c.Probe(t.Context())); got != tt.probe {
				t.Errorf("Probe: fate %v, want %v", got, tt.probe)
			}
			if got := c.Dialect(); got != tt.dialect {
				t.Errorf("Dialect = %q, want %q", got, tt.dialect)
			}
			if got := c.CanFind(); got != (tt.dialect == DialectCAGW) {
				t.Errorf("CanFind = %v", got)
			}
		})
	}
}

func TestAutoDialectAsksOnceAndLogsOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	var log bytes.Buffer // slog's handler locks it
	release := make(chan struct{})
	c := newClientLogging(t, Config{}, slog.New(slog.NewTextHandler(&log, nil)), func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/ca-1") {
			asked.Add(1)
			<-release
			always(200, `{"caId":"ca-1"}`)(w, r)
			return
		}
		always(200, `{"trackingId":"t","status":"PENDING"}`)(w, r)
	})
	// The first caller is cancelled. That must not fail the others.
	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error)
	go func() {
		_, err := c.Poll(ctx, Poll{TrackingID: "t"})
		impatient <- err
	}()
	for asked.Load() == 0 {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-impatient; FateOf(err) != NotAccepted {
		t.Errorf("the caller that gave up got %v, want NotAccepted", err)
	}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := c.Poll(t.Context(), Poll{TrackingID: "t"}); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	wg.Wait()
	if got := asked.Load(); got != 1 {
		t.Errorf("the gateway was asked %d times, want once", got)
	}
	if got := strings.Count(log.String(), "dialect chosen"); got != 1 || !strings.Contains(log.String(), "dialect=certctl") {
		t.Errorf("the choice was logged %d times:\n%s", got, log.String())
	}
}

func TestConfiguredDialectStays(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Dialect: DialectCertctl}, always(200, `{"ca":{"id":"ca-1"}}`))
	if err := c.Probe(t.Context()); err != nil || c.Dialect() != DialectCertctl {
		t.Errorf("Probe: %v, dialect %q", err, c.Dialect())
	}
	if _, _, err := c.Find(t.Context(), Search{CSR: newCSR(t)}); err != ErrNoLookup {
		t.Errorf("Find: %v, want ErrNoLookup", err)
	}
}
