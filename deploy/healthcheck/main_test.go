package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/readyz":
			w.WriteHeader(http.StatusNoContent)
		case "/waiting":
			http.Error(w, "not connected to NATS", http.StatusServiceUnavailable)
		case "/hangs":
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()

	for _, tt := range []struct {
		name, url string
		hurry     bool
		want      string // of the error; empty: none
	}{
		{name: "ready", url: server.URL + "/readyz"},
		{name: "not ready", url: server.URL + "/waiting", want: "503 Service Unavailable: not connected to NATS"},
		{name: "nobody listens", url: gone.URL, want: "asking for health"},
		{name: "no answer", url: server.URL + "/hangs", hurry: true, want: "context canceled"},
		{name: "no URL", url: "::", want: "reading the URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.hurry {
				cancel()
			}
			err := check(ctx, tt.url)
			if tt.want == "" && err != nil {
				t.Fatalf("got %v, want no error", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}
