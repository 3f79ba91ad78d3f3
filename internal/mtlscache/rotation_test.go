package mtlscache_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// TestRotationUnderLoad replaces the pair a hundred times, in the ways of different
// tools, under 64 callers. No call fails, each rotation is one reload, and no
// connection with an old pair stays open.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	const callers = 64
	rotations := 100
	if testing.Short() {
		rotations = 14
	}
	old := time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)

	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2=%t", http2), func(t *testing.T) {
			t.Parallel()
			r := setup(t, http2, nil, func(cfg *mtlscache.Config) {
				cfg.MaxConnsPerHost = callers
				cfg.HalfRotationWait = patience // the machine may be slow; no call may fail because of that
			})
			calls, stop := r.storm(t, callers)
			// seen waits until a call has read the files.
			seen := func() {
				from := calls.Load()
				eventually(t, "the callers go on", func() bool { return calls.Load() >= from+callers })
			}
			ways := []struct {
				name   string
				rotate func(next pair)
			}{
				{"renamed over", func(next pair) {
					r.replace(t, r.cert, next.certPEM, time.Time{})
					r.replace(t, r.key, next.keyPEM, time.Time{})
				}},
				{"certificate long before key", func(next pair) {
					r.replace(t, r.cert, next.certPEM, time.Time{})
					seen()
					r.replace(t, r.key, next.keyPEM, time.Time{})
				}},
				{"key long before certificate", func(next pair) {
					r.replace(t, r.key, next.keyPEM, time.Time{})
					seen()
					r.replace(t, r.cert, next.certPEM, time.Time{})
				}},
				{"written in place", func(next pair) {
					r.write(t, r.cert, next.certPEM)
					r.write(t, r.key, next.keyPEM)
				}},
				{"written in place, slowly", func(next pair) {
					r.write(t, r.cert, nil)
					seen()
					r.write(t, r.cert, next.certPEM[:len(next.certPEM)/2])
					seen()
					r.write(t, r.cert, next.certPEM)
					seen()
					r.write(t, r.key, next.keyPEM[:len(next.keyPEM)-5])
					seen()
					r.write(t, r.key, next.keyPEM)
				}},
				{"older modification time", func(next pair) {
					r.replace(t, r.cert, next.certPEM, old)
					r.replace(t, r.key, next.keyPEM, old)
				}},
				{"in place, the same modification time", func(next pair) {
					r.write(t, r.cert, next.certPEM)
					r.write(t, r.key, next.keyPEM)
					for _, path := range []string{r.cert, r.key} {
						if err := os.Chtimes(path, old, old); err != nil {
							t.Fatal(err)
						}
					}
				}},
			}
			for i := range rotations {
				next, way := r.ca.client(t), ways[i%len(ways)]
				way.rotate(next)
				r.mustCall(t, next) // from now on every call uses it
				seen()
				if got, want := r.cache.Reloads(), uint64(i+1); got != want {
					t.Fatalf("after rotation %d (%s): %d reloads, want %d", i+1, way.name, got, want)
				}
			}

			if errs := stop(); len(errs) > 0 {
				t.Errorf("%d of %d calls failed, first: %v", len(errs), calls.Load(), errs[0])
			}
			if got := r.cache.Reloads(); got != uint64(rotations) {
				t.Errorf("%d reloads for %d rotations", got, rotations)
			}
			r.cache.CloseIdleConnections() // with the pair in use
			eventually(t, "no connection is open", func() bool { return r.gateway.open.Load() == 0 })
			t.Logf("%d calls, %d connections made", calls.Load(), r.gateway.made.Load())
		})
	}
}

// TestOldConnectionsClose checks that retired connections close by themselves, but not
// during a call.
func TestOldConnectionsClose(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2=%t", http2), func(t *testing.T) {
			t.Parallel()
			hold := newHold()
			r := setup(t, http2, hold, nil)

			slow := make(chan string, 1)
			go func() {
				got, err := r.get(t.Context(), "/hold")
				if err != nil {
					got = err.Error()
				}
				slow <- got
			}()
			<-hold.entered
			next := r.ca.client(t)
			r.replace(t, r.cert, next.certPEM, time.Time{})
			r.replace(t, r.key, next.keyPEM, time.Time{})
			r.mustCall(t, next)

			if got := r.gateway.open.Load(); got != 2 {
				t.Errorf("%d connections open, want that of the call in flight and the new one", got)
			}
			hold.release <- struct{}{}
			if got := <-slow; got != r.first.serial() {
				t.Errorf("the call in flight ended in %q, want the old certificate %q", got, r.first.serial())
			}
			eventually(t, "the old connection is closed, the new one stays", func() bool { return r.gateway.open.Load() == 1 })
			r.mustCall(t, next)
			if got := r.gateway.made.Load(); got != 2 {
				t.Errorf("%d connections made, want 2", got)
			}
		})
	}
}

// TestSymlinkSwap rotates as Kubernetes does with a mounted secret: both files are
// behind one link to a directory, and a rename replaces the link.
func TestSymlinkSwap(t *testing.T) {
	t.Parallel()
	r := setup(t, true, nil, nil)
	dir := t.TempDir()
	publish := func(version string, p pair) {
		t.Helper()
		target := dir + "/.." + version
		if err := os.Mkdir(target, 0o700); err != nil {
			t.Fatal(err)
		}
		r.write(t, target+"/tls.crt", p.certPEM)
		r.write(t, target+"/tls.key", p.keyPEM)
		if err := os.Symlink(".."+version, dir+"/..data_tmp"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+"/..data_tmp", dir+"/..data"); err != nil {
			t.Fatal(err)
		}
	}
	publish("v0", r.first)
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink("..data/"+name, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := mtlscache.New(mtlscache.Config{
		CertFile: dir + "/tls.crt", KeyFile: dir + "/tls.key", ServerCAFile: r.path("ca.pem"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	r.cache, r.client.Transport = cache, cache
	r.mustCall(t, r.first)

	_, stop := r.storm(t, 8)
	for i := range 20 {
		next := r.ca.client(t)
		publish(fmt.Sprintf("v%d", i+1), next)
		if err := os.RemoveAll(fmt.Sprintf("%s/..v%d", dir, i)); err != nil {
			t.Fatal(err)
		}
		r.mustCall(t, next)
	}
	if errs := stop(); len(errs) > 0 {
		t.Errorf("%d calls failed, first: %v", len(errs), errs[0])
	}
	if got := cache.Reloads(); got != 20 {
		t.Errorf("%d reloads, want 20", got)
	}
}

// TestCredentialDirectory rotates as systemd does with the credentials of a unit:
// the whole directory is another one, read-only, with files of the same names,
// here PKCS#12, its password and the server's CA.
func TestCredentialDirectory(t *testing.T) {
	t.Parallel()
	r := setup(t, true, nil, nil)
	dir := r.path("credentials")
	publish := func(p pair, password string) {
		t.Helper()
		next := t.TempDir()
		p12, err := pkcs12.Modern2026.Encode(p.key, p.leaf, nil, password)
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"client.p12": p12, "password": []byte(password), "ca.pem": r.ca.certPEM} {
			if err := os.WriteFile(next+"/"+name, content, 0o400); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.RemoveAll(dir), os.Rename(next, dir)); err != nil {
			t.Fatal(err)
		}
	}
	publish(r.first, "first")
	cache, err := mtlscache.New(mtlscache.Config{
		PKCS12File: dir + "/client.p12", PKCS12PasswordFile: dir + "/password", ServerCAFile: dir + "/ca.pem", HalfRotationWait: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	r.cache, r.client.Transport = cache, cache
	r.mustCall(t, r.first)
	for i := range 5 {
		next := r.ca.client(t)
		publish(next, fmt.Sprint("password ", i))
		r.mustCall(t, next)
	}
	if got := cache.Reloads(); got != 5 {
		t.Errorf("%d reloads, want 5", got)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := r.call(t.Context()); !credentials(err) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("call without the directory ended in %v, want a KeyPairError", err)
	}
	publish(r.first, "first")
	r.mustCall(t, r.first)
}

// TestServerCARotation changes the CA of the gateway's certificate.
func TestServerCARotation(t *testing.T) {
	t.Parallel()
	r := setup(t, true, nil, nil)
	r.mustCall(t, r.first)

	r.replace(t, r.path("ca.pem"), newAuthority(t).certPEM, time.Time{})
	if got, err := r.call(t.Context()); err == nil {
		t.Fatalf("a call to a gateway of an untrusted CA succeeded, as %s", got)
	}
	r.replace(t, r.path("ca.pem"), r.ca.certPEM, time.Time{})
	r.mustCall(t, r.first)
	if got := r.cache.Reloads(); got != 2 {
		t.Errorf("%d reloads, want 2", got)
	}
}

// TestTouch changes everything about the files except their content. The connections
// stay.
func TestTouch(t *testing.T) {
	t.Parallel()
	r := setup(t, true, nil, nil)
	r.mustCall(t, r.first)
	if err := os.Chtimes(r.cert, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.mustCall(t, r.first)
	if err := os.Chmod(r.key, 0o400); err != nil {
		t.Fatal(err)
	}
	r.mustCall(t, r.first)
	r.replace(t, r.key, r.first.keyPEM, time.Time{})
	r.mustCall(t, r.first)
	if reloads, made := r.cache.Reloads(), r.gateway.made.Load(); reloads != 0 || made != 1 {
		t.Errorf("%d reloads and %d connections, want 0 and 1", reloads, made)
	}
}
