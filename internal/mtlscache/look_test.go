package mtlscache_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// newFiles writes a pair and returns a rig whose cache makes no calls.
func newFiles(t *testing.T, change func(*mtlscache.Config)) *rig {
	t.Helper()
	ca := newAuthority(t)
	r := &rig{dir: t.TempDir(), ca: ca, first: ca.client(t)}
	r.cert, r.key = r.path("client.pem"), r.path("client.key")
	r.write(t, r.cert, r.first.certPEM)
	r.write(t, r.key, r.first.keyPEM)
	cfg := mtlscache.Config{CertFile: r.cert, KeyFile: r.key}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.cache, err = mtlscache.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.cache.Close)
	return r
}

// credentials reports whether err has the method for which callers look.
func credentials(err error) bool {
	kind, ok := errors.AsType[interface {
		error
		Credentials() bool
	}](err)
	return ok && kind.Credentials()
}

// TestHalfRotation checks, in fake time, a rotation that stops half-way.
func TestHalfRotation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, r *rig, next pair)
		want  string // part of the error, once there is one
	}{
		{"certificate first", func(t *testing.T, r *rig, next pair) { r.replace(t, r.cert, next.certPEM, time.Time{}) }, "no certificate in it matches the key in"},
		{"key first", func(t *testing.T, r *rig, next pair) { r.replace(t, r.key, next.keyPEM, time.Time{}) }, "no certificate in it matches the key in"},
		{"empty", func(t *testing.T, r *rig, _ pair) { r.write(t, r.cert, nil) }, "is empty"},
		{"truncated", func(t *testing.T, r *rig, next pair) { r.write(t, r.key, next.keyPEM[:100]) }, "ends inside a PEM block"},
		{"a whole certificate and half of its issuer's", func(t *testing.T, r *rig, _ pair) {
			r.write(t, r.cert, append(r.first.certPEM, r.ca.certPEM[:200]...))
		}, "ends inside a PEM block"},
		{"not a file", func(t *testing.T, r *rig, _ pair) {
			if err := errors.Join(os.Remove(r.key), os.Mkdir(r.key, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, "is not a regular file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newFiles(t, nil)
				next := r.ca.client(t)
				tc.spoil(t, r, next)

				for _, at := range []time.Duration{0, time.Millisecond, 1998 * time.Millisecond} { // 0, 1 ms, 1.999 s
					time.Sleep(at)
					if err := r.cache.Check(); err != nil {
						t.Fatalf("within HalfRotationWait: Check() = %v, want the old pair", err)
					}
				}
				if err := r.cache.Look(); !credentials(err) {
					t.Errorf("Look() = %v, want the trouble at once", err)
				}
				time.Sleep(time.Millisecond) // 2 s
				for range 3 {                // the same for every call
					err := r.cache.Check()
					if !credentials(err) || !strings.Contains(err.Error(), tc.want) {
						t.Fatalf("after HalfRotationWait: Check() = %v, want a KeyPairError with %q", err, tc.want)
					}
				}
				if err := os.RemoveAll(r.key); err != nil {
					t.Fatal(err)
				}
				r.write(t, r.key, next.keyPEM)
				r.write(t, r.cert, next.certPEM)
				if err := r.cache.Check(); err != nil {
					t.Errorf("the pair is complete: Check() = %v", err)
				}
				if got := r.cache.Reloads(); got != 1 {
					t.Errorf("%d reloads, want 1", got)
				}

				// The next rotation has the full wait again.
				r.replace(t, r.cert, r.first.certPEM, time.Time{})
				if err := r.cache.Check(); err != nil {
					t.Errorf("second rotation: Check() = %v, want the old pair", err)
				}
				time.Sleep(2 * time.Second)
				if err := r.cache.Check(); !credentials(err) {
					t.Errorf("second rotation after HalfRotationWait: Check() = %v", err)
				}
			})
		})
	}
}

func TestHalfRotationNotBridged(t *testing.T) {
	t.Parallel()
	r := newFiles(t, func(cfg *mtlscache.Config) { cfg.HalfRotationWait = -1 })
	r.replace(t, r.key, r.ca.client(t).keyPEM, time.Time{})
	if err := r.cache.Check(); !credentials(err) {
		t.Errorf("Check() = %v, want a KeyPairError", err)
	}
}

// TestMissing removes each file in turn. No call uses the pair in memory, and calls
// succeed again when the file is back.
func TestMissing(t *testing.T) {
	t.Parallel()
	r := setup(t, true, nil, nil)
	for _, path := range []string{r.cert, r.key, r.path("ca.pem")} {
		r.mustCall(t, r.first)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		body := &closing{Reader: strings.NewReader("a request")}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.gateway.url, body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.client.Do(req)
		if !credentials(err) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("call without %s ended in %v, want a KeyPairError that names it", path, err)
		}
		if !body.closed {
			t.Error("the body of the call was not closed")
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	r.mustCall(t, r.first)
	if reloads, made := r.cache.Reloads(), r.gateway.made.Load(); reloads != 0 || made != 1 {
		t.Errorf("%d reloads and %d connections, want 0 and 1: the files came back as they were", reloads, made)
	}
}

type closing struct {
	*strings.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// TestNotADirectory has stat fail with another error than a missing file.
func TestNotADirectory(t *testing.T) {
	t.Parallel()
	_, err := mtlscache.New(mtlscache.Config{CertFile: "/dev/null/client.pem", KeyFile: "/dev/null/client.key"})
	if !credentials(err) || !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("New = %v, want a KeyPairError with ENOTDIR", err)
	}
	if _, err := mtlscache.New(mtlscache.Config{CertFile: "a\x00b", KeyFile: "c"}); !credentials(err) {
		t.Errorf("New with a NUL in the path = %v, want a KeyPairError", err)
	}
}

// TestOneReload has many calls see a rotation at the same moment.
func TestOneReload(t *testing.T) {
	t.Parallel()
	r := newFiles(t, nil)
	for rotation := range uint64(50) {
		next := r.ca.client(t)
		r.write(t, r.path("next"), append(next.certPEM, next.keyPEM...))
		if rotation == 0 { // from now on one file holds both, so that a rotation is one step
			if _, err := mtlscache.New(mtlscache.Config{CertFile: r.path("both"), KeyFile: r.path("both")}); err == nil {
				t.Fatal("New without its file succeeded")
			}
			r.write(t, r.path("both"), append(r.first.certPEM, r.first.keyPEM...))
			cache, err := mtlscache.New(mtlscache.Config{CertFile: r.path("both"), KeyFile: r.path("both")})
			if err != nil {
				t.Fatal(err)
			}
			r.cache = cache
		}
		if err := os.Rename(r.path("next"), r.path("both")); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if err := r.cache.Check(); err != nil {
					t.Error(err)
				}
				if got := r.cache.Reloads(); got != rotation+1 {
					t.Errorf("%d reloads after rotation %d", got, rotation+1)
				}
			})
		}
		wg.Wait()
	}
}

// TestLook reads files that seem unchanged, and files that changed.
func TestLook(t *testing.T) {
	t.Parallel()
	r := newFiles(t, nil)
	if err := r.cache.Look(); err != nil || r.cache.Reloads() != 0 {
		t.Errorf("Look() = %v with %d reloads, want nil and 0", err, r.cache.Reloads())
	}
	next := r.ca.client(t)
	r.write(t, r.cert, next.certPEM)
	r.write(t, r.key, next.keyPEM)
	if err := r.cache.Look(); err != nil || r.cache.Reloads() != 1 {
		t.Errorf("Look() = %v with %d reloads, want nil and 1", err, r.cache.Reloads())
	}
	if err := os.Remove(r.key); err != nil {
		t.Fatal(err)
	}
	if err := r.cache.Look(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Look() without the key = %v", err)
	}
}
