package mtlscache

import (
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNextCall makes thousands of changes, each in a random way. It compares what the
// next call uses with what a new cache reads. The second run has other callers at the
// same time.
func TestNextCall(t *testing.T) {
	t.Parallel()
	for _, others := range []int{0, 2} {
		t.Run(fmt.Sprintf("%d others", others), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			content := make([][]byte, 8)
			for i := range content {
				content[i] = equalSize(t)
			}
			must(t, os.Mkdir(dir+"/real", 0o700), os.Symlink("real", dir+"/current"))
			for _, name := range names {
				must(t, os.WriteFile(dir+"/current/"+name, content[0], 0o600))
			}
			cfg := inFiles(dir + "/current")
			c, err := New(cfg)
			must(t, err)
			defer c.Close()

			done := make(chan struct{})
			var wg sync.WaitGroup
			defer wg.Wait()
			defer close(done)
			for range others {
				wg.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
							_ = c.Check() // fails in half of the cases
							runtime.Gosched()
						}
					}
				})
			}

			fresh, err := newFiles(cfg)
			must(t, err)
			var step string
			failed, taken := 0, 0
			next := func() { // the next call
				t.Helper()
				g, err := c.acquire()
				if err == nil {
					g.calls.Add(-1)
				}
				want, _, wantErr := fresh.read()
				switch {
				case (err != nil) != (wantErr != nil):
					t.Fatalf("%s: the next call got %v, want %v", step, err, wantErr)
				case err != nil:
					failed++
				case !g.same(want):
					t.Fatalf("%s: the next call used what was there before", step)
				default:
					taken++
				}
			}
			// put changes the content of a file.
			lot := mathrand.New(mathrand.NewPCG(1, 2))
			manners := []struct {
				name string
				put  func(path string, b []byte) error
			}{
				{"in place", func(path string, b []byte) error { return os.WriteFile(path, b, 0o600) }},
				{"in place, old", func(path string, b []byte) error {
					return errors.Join(os.WriteFile(path, b, 0o600), os.Chtimes(path, longAgo, longAgo))
				}},
				{"in place, not cut", func(path string, b []byte) error {
					f, err := os.OpenFile(path, os.O_WRONLY, 0)
					if err != nil {
						return err
					}
					defer f.Close()
					_, err = f.WriteAt(b, 0)
					return err
				}},
				{"renamed over", rename},
				{"renamed over, old", func(path string, b []byte) error {
					return errors.Join(os.WriteFile(path+".new", b, 0o600), os.Chtimes(path+".new", longAgo, longAgo), os.Rename(path+".new", path))
				}},
				{"removed first", func(path string, b []byte) error {
					must(t, os.Remove(path))
					next()
					tick(t, dir)
					return os.WriteFile(path, b, 0o600)
				}},
				{"directory replaced", func(path string, b []byte) error {
					err := errors.Join(copyOf(dir, path, b), os.Rename(dir+"/real", dir+"/gone"))
					next()
					return errors.Join(err, os.Rename(dir+"/copy", dir+"/real"), os.RemoveAll(dir+"/gone"))
				}},
				{"directory away and back", func(path string, b []byte) error {
					must(t, os.Rename(dir+"/real", dir+"/gone"))
					next()
					must(t, os.Rename(dir+"/gone", dir+"/real"))
					next()
					tick(t, dir)
					return os.WriteFile(path, b, 0o600)
				}},
				{"directory exchanged", func(path string, b []byte) error {
					return errors.Join(copyOf(dir, path, b),
						unix.Renameat2(unix.AT_FDCWD, dir+"/copy", unix.AT_FDCWD, dir+"/real", unix.RENAME_EXCHANGE),
						os.RemoveAll(dir+"/copy"))
				}},
				{"link switched", func(path string, b []byte) error { // as Kubernetes does
					if err := errors.Join(copyOf(dir, path, b), os.Symlink("copy", dir+"/link"), os.Rename(dir+"/link", dir+"/current")); err != nil {
						return err
					}
					next()
					return errors.Join(os.RemoveAll(dir+"/real"), os.Rename(dir+"/copy", dir+"/real"),
						os.Symlink("real", dir+"/link"), os.Rename(dir+"/link", dir+"/current"))
				}},
			}
			rounds := 300
			if testing.Short() {
				rounds = 50
			}
			for round := range rounds {
				b := content[lot.IntN(len(content))]
				files := [][]string{{"cert", "key"}, {"key", "cert"}, {"cert", "ca", "key"}, {"ca"}, {"ca"}, {"key"}}[lot.IntN(6)]
				for _, name := range files {
					manner := manners[lot.IntN(len(manners))]
					step = fmt.Sprintf("round %d, %v, %s %s", round, files, name, manner.name)
					tick(t, dir)
					must(t, manner.put(dir+"/current/"+name, b))
					next()
				}
			}
			t.Logf("%d calls used what was new, %d were refused", taken, failed)
		})
	}
}
