package policyfile

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	first  = "producers: {shop: {kinds: [issue]}}"
	second = "producers: {shop: {kinds: [revoke]}}"
)

// file writes a policy file and opens it.
func file(t *testing.T) (f *File, path string, log *bytes.Buffer) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, first)
	log = new(bytes.Buffer)
	f, err := Open(path, 30*24*time.Hour, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return f, path, log
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// kinds returns the kinds that the policy in force allows the only producer.
func kinds(f *File) string {
	r, _ := f.Policy().Rules("shop")
	return strings.Join(r.Kinds, " ")
}

func TestOpenRefusesWhatIsNoPolicy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if _, err := Open(path, 30*24*time.Hour, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file: %v", err)
	}
	write(t, path, "producers: {shop: {kind: [issue]}}")
	if _, err := Open(path, 30*24*time.Hour, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "kind") {
		t.Errorf("a wrong file: %v", err)
	}
	write(t, path, long)
	if _, err := Open(path, 30*24*time.Hour, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "below half of streams.orders_max_age") {
		t.Errorf("a signature that outlives the ledger: %v", err)
	}
	if _, err := Open(path, 41*24*time.Hour, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("one that does not: %v", err)
	}
}

const long = "producers: {shop: {signatures: {window: 20d, keys: {a: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}}}}"

// A new file is in force from the next look. A bad or missing file never is, and is
// reported once.
func TestLook(t *testing.T) {
	t.Parallel()
	f, path, log := file(t)
	write(t, path, second)
	f.Look()
	f.Look()
	if kinds(f) != "revoke" || f.Rejected() || strings.Count(log.String(), "the policy changed") != 1 {
		t.Errorf("after a change: %s, rejected %v; log\n%s", kinds(f), f.Rejected(), log)
	}
	for _, spoil := range []func(){
		func() { write(t, path, "producers: {shop: [") },
		func() { write(t, path, "") },
		func() { write(t, path, long) },
		func() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		log.Reset()
		spoil()
		f.Look()
		f.Look()
		if kinds(f) != "revoke" || !f.Rejected() || strings.Count(log.String(), "stays in force") != 1 {
			t.Errorf("after a bad change: %s, rejected %v; log\n%s", kinds(f), f.Rejected(), log)
		}
	}
	write(t, path, second)
	f.Look()
	if f.Rejected() || !strings.Contains(log.String(), "can be used again") {
		t.Errorf("rejected %v; log\n%s", f.Rejected(), log)
	}
	write(t, path, first)
	f.Look()
	if kinds(f) != "issue" {
		t.Errorf("the policy in force allows %s", kinds(f))
	}
}

func TestRunLooksByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, path, _ := file(t)
		go f.Run(t.Context())
		write(t, path, second)
		time.Sleep(every + time.Second)
		synctest.Wait()
		if kinds(f) != "revoke" {
			t.Errorf("the policy in force allows %s", kinds(f))
		}
	})
}
