package run

import (
	"bytes"
	"errors"
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
	probed := make(chan struct{}, 1)
	next := notified(t)
	quiet := slog.New(slog.DiscardHandler)
	f := files{cache: cache, rules: rules, manager: supervisor{quiet}, log: quiet, wake: func() {
		// The look of each second may have come between, and reads no policy.
		if cache.Reloads() != 1 || len(rules.Policy().Producers()) != 1 {
			return
		}
		select {
		case probed <- struct{}{}:
		default:
		}
	}}
	t.Cleanup(f.watch())

	if err := gw.RotateClient(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case <-probed:
	case <-time.After(time.Minute):
		t.Error("no probe with the new pair and the new policy after SIGHUP")
	}
	if first, second := next(), next(); !strings.HasPrefix(first, "RELOADING=1\n") || !strings.HasPrefix(second, "READY=1\n") {
		t.Errorf("the service manager was told %q and %q", first, second)
	}
}

// A corrected key pair has the gateway probed without a SIGHUP. One that cannot be used does
// not, and a SIGHUP names the file by its key.
func TestCorrectedPairProbes(t *testing.T) {
	t.Parallel()
	gw, err := gatewaytest.Start(gatewaytest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gw.Close() })
	key, err := os.ReadFile(gw.ClientKey())
	if err != nil {
		t.Fatal(err)
	}
	cache, err := mtlscache.New(mtlscache.Config{CertFile: gw.ClientCert(), KeyFile: gw.ClientKey(), ServerCAFile: gw.ServerCA(), HalfRotationWait: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	replace := func(text []byte) {
		next := filepath.Join(t.TempDir(), "next.key")
		if err := os.WriteFile(next, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, gw.ClientKey()); err != nil {
			t.Fatal(err)
		}
	}
	probes := 0
	var log bytes.Buffer
	explain := func(error) error { return errors.New("gateway.client_key_path is wrong") }
	f := files{cache: cache, explain: explain, wake: func() { probes++ }, log: slog.New(slog.NewTextHandler(&log, nil))}

	f.look()
	replace([]byte("no key"))
	for cache.Check() == nil { // for as long as it may be half of a rotation
	}
	f.look()
	f.look()
	f.hangup()
	if probes != 0 {
		t.Errorf("%d probes with a pair that cannot be used", probes)
	}
	if !strings.Contains(log.String(), `level=ERROR msg="looking at the key pair; the worker looks again each second" err="gateway.client_key_path is wrong"`) {
		t.Errorf("the log of a SIGHUP is %s", &log)
	}
	replace(key)
	f.look()
	f.look()
	if probes != 1 {
		t.Errorf("%d probes after the key was corrected, want 1", probes)
	}
	if err := gw.RotateClient(); err != nil {
		t.Fatal(err)
	}
	f.look()
	if probes != 2 {
		t.Errorf("%d probes after a rotation, want 1 more", probes)
	}
}
