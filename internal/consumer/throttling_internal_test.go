package consumer

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/throttle"
)

// brokenPair is the transport's error for an unusable key pair.
type brokenPair struct{}

func (brokenPair) Error() string     { return "client.key: holds no key" }
func (brokenPair) Credentials() bool { return true }

// The log says where the problem is: at the gateway, in its view of this client, or in the
// files on this host.
func TestLogOfAGatewayThatIsShut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		cause error
		want  string
	}{
		{"no answer", &gateway.Error{Fate: gateway.NotAccepted}, "the gateway does not answer"},
		{"refused", &gateway.Error{Fate: gateway.Unauthorized, HTTPStatus: 401}, "the gateway refuses the client's credentials"},
		{"unusable pair", errors.Join(&gateway.Error{Fate: gateway.Unauthorized}, brokenPair{}), "the client's key pair cannot be used"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			s := throttling{log: slog.New(slog.NewTextHandler(&log, nil)), metrics: metrics.New(prometheus.NewRegistry())}
			s.probed(throttle.ProberChange{Cause: tc.cause})
			if !strings.Contains(log.String(), `msg="`+tc.want+`; requests wait"`) {
				t.Errorf("the log says %s, want %q", &log, tc.want)
			}
		})
	}
}
