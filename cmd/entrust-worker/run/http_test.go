package run

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
)

// From SIGTERM on a worker is not ready, and says why. It is alive all the same.
func TestDrainingIsNotReady(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	health := readiness{work: ctx}
	stop()
	s := &config.Settings{Config: config.Default()}
	s.HTTP.Addr = "127.0.0.1:0"
	addr, end, err := serve(s, prometheus.NewRegistry(), nil, health.check, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	for path, want := range map[string]string{"/healthz": "200 OK: ok", "/readyz": "503 Service Unavailable: draining: "} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if got := answer.Status + ": " + string(body); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s answers %q, %v; want %q", path, got, err, want)
		}
	}
}
