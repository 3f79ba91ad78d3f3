package run

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
)

// A SIGHUP reads the policy file and the new key pair before it has the gateway probed with it.
func TestHangupProbesWithTheNewPair(t *testing.T) {
	gw, err := gatewaytest.Start(gatewaytest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gw.Close() })
	cache, err := mtlscache.New(mtlscache.Config{CertFile: gw.ClientCert(), KeyFile: gw.ClientKey(), ServerCAFile: gw.ServerCA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	path := filepath.Join(t.TempDir(), "policy.yaml")
	writePolicy := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writePolicy("producers: {}")
	rules, err := policyfile.Open(path, 24*time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	writePolicy("producers: {shop: {}}")
	reloads := make(chan uint64, 1)
	next := notified(t)
	t.Cleanup(lookOnHangup(cache, rules, func() { reloads <- cache.Reloads() }, supervisor{slog.New(slog.DiscardHandler)}, slog.New(slog.DiscardHandler)))

	if err := gw.RotateClient(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-reloads:
		if n != 1 {
			t.Errorf("the gateway is probed after %d reloads, want 1", n)
		}
		if len(rules.Policy().Producers()) != 1 {
			t.Error("the policy file was not read again")
		}
	case <-time.After(time.Minute):
		t.Error("no probe after SIGHUP")
	}
	if first, second := next(), next(); !strings.HasPrefix(first, "RELOADING=1\n") || !strings.HasPrefix(second, "READY=1\n") {
		t.Errorf("the service manager was told %q and %q", first, second)
	}
}
