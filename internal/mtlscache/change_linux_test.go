package mtlscache

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// longAgo is older than any file of a test.
var longAgo = time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)

// names are the files that the tests here watch.
var names = []string{"cert", "key", "ca"}

// equalSize returns a certificate and its key in one PEM text. All that it
// returns have the same size.
func equalSize(t testing.TB) []byte {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
}

// must ends a test whose own steps fail.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// inFiles returns the configuration for the files of dir, which bridges nothing.
func inFiles(dir string) Config {
	return Config{CertFile: dir + "/cert", KeyFile: dir + "/key", ServerCAFile: dir + "/ca", HalfRotationWait: -1}
}

// wired returns a cache that takes the wire's word alone, however long it waits.
func wired(t testing.TB, cfg Config) *Cache {
	t.Helper()
	c, err := New(cfg)
	must(t, err)
	t.Cleanup(c.Close)
	if c.trust.Load() != byWire {
		t.Skip("the file system does not tell of changes, or this user has no inotify instance left")
	}
	c.looked.Store(math.MaxInt64)
	return c
}

func rename(path string, content []byte) error {
	return errors.Join(os.WriteFile(path+".new", content, 0o600), os.Rename(path+".new", path))
}

// TestEveryChangeIsSeen changes one file of three, in each way, while the next
// two calls watch.
func TestEveryChangeIsSeen(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name string
		// ticks says that nothing but a time changes, which a look by path can
		// only see a tick later.
		ticks  bool
		change func(dir, path string, next []byte) error
	}{
		{"written in place", true, func(_, path string, next []byte) error { return os.WriteFile(path, next, 0o600) }},
		{"written in place, longer", false, func(_, path string, next []byte) error {
			return os.WriteFile(path, append(next, '\n'), 0o600)
		}},
		{"written in place, as old as before", true, func(_, path string, next []byte) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(path, next, 0o600), os.Chtimes(path, info.ModTime(), info.ModTime()))
		}},
		{"written through a mapping", true, func(_, path string, next []byte) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			b, err := unix.Mmap(int(f.Fd()), 0, len(next), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			copy(b, next)
			return unix.Munmap(b)
		}},
		{"renamed over", false, func(_, path string, next []byte) error { return rename(path, next) }},
		{"renamed over, older", false, func(_, path string, next []byte) error {
			return errors.Join(os.WriteFile(path+".new", next, 0o600), os.Chtimes(path+".new", longAgo, longAgo),
				os.Rename(path+".new", path))
		}},
		{"renamed over, the old one kept under another name", false, func(_, path string, next []byte) error {
			return errors.Join(os.Link(path, path+".bak"), rename(path, next))
		}},
		{"exchanged", false, func(_, path string, next []byte) error {
			return errors.Join(os.WriteFile(path+".new", next, 0o600),
				unix.Renameat2(unix.AT_FDCWD, path+".new", unix.AT_FDCWD, path, unix.RENAME_EXCHANGE))
		}},
		{"removed", false, func(_, path string, _ []byte) error { return os.Remove(path) }},
		{"removed and made again", true, func(_, path string, next []byte) error { // perhaps with the inode there was
			return errors.Join(os.Remove(path), os.WriteFile(path, next, 0o600))
		}},
		{"renamed away", false, func(_, path string, _ []byte) error { return os.Rename(path, path+".away") }},
		{"replaced by a link", false, func(_, path string, next []byte) error {
			return errors.Join(os.WriteFile(path+".new", next, 0o600), os.Symlink(path+".new", path+".link"),
				os.Rename(path+".link", path))
		}},
		{"the directory renamed away", false, func(dir, _ string, _ []byte) error { return os.Rename(dir+"/real", dir+"/gone") }},
		{"the directory removed", false, func(dir, _ string, _ []byte) error { return os.RemoveAll(dir + "/real") }},
		{"the directory replaced", false, func(dir, path string, next []byte) error {
			return errors.Join(copyOf(dir, path, next), os.Rename(dir+"/real", dir+"/gone"), os.Rename(dir+"/copy", dir+"/real"))
		}},
		{"the directory exchanged", false, func(dir, path string, next []byte) error {
			return errors.Join(copyOf(dir, path, next),
				unix.Renameat2(unix.AT_FDCWD, dir+"/copy", unix.AT_FDCWD, dir+"/real", unix.RENAME_EXCHANGE))
		}},
		{"the link to the directory switched", false, func(dir, path string, next []byte) error {
			return errors.Join(copyOf(dir, path, next), os.Symlink("copy", dir+"/new"), os.Rename(dir+"/new", dir+"/current"))
		}},
		{"the link to the directory made again", false, func(dir, path string, next []byte) error {
			return errors.Join(copyOf(dir, path, next), os.Remove(dir+"/current"), os.Symlink("copy", dir+"/current"))
		}},
	}
	for _, byPath := range []bool{false, true} {
		for _, linked := range []bool{false, true} {
			for _, name := range names {
				for _, way := range ways {
					if byPath && way.ticks {
						continue // TestChangeWithinATick
					}
					t.Run(fmt.Sprintf("by path %t, linked %t, %s %s", byPath, linked, name, way.name), func(t *testing.T) {
						t.Parallel()
						dir := t.TempDir()
						must(t, os.Mkdir(dir+"/real", 0o700), os.Symlink("real", dir+"/current"))
						mine, other := equalSize(t), equalSize(t)
						for _, name := range names {
							target := dir + "/current/" + name
							if linked { // each file is a link of its own
								target = dir + "/target-" + name
								must(t, os.Symlink("../target-"+name, dir+"/current/"+name))
							}
							must(t, os.WriteFile(target, mine, 0o600))
						}
						c := wired(t, inFiles(dir+"/current"))
						must(t, c.Check())
						if byPath {
							c.Close()
						}
						must(t, way.change(dir, dir+"/current/"+name, other))
						for range 2 {
							// Another key or certificate does not match; another CA does.
							if err := c.Check(); err == nil && c.Reloads() == 0 {
								t.Fatal("the change was not seen")
							}
						}
					})
				}
			}
		}
	}
}

// copyOf makes dir/copy as dir/real is, but for what stands in place of path.
func copyOf(dir, path string, next []byte) error {
	errs := []error{os.Mkdir(dir+"/copy", 0o700)}
	for _, name := range names {
		content, err := os.ReadFile(dir + "/real/" + name)
		if name == filepath.Base(path) {
			content = next
		}
		errs = append(errs, err, os.WriteFile(dir+"/copy/"+name, content, 0o600))
	}
	return errors.Join(errs...)
}

// TestHardLinkedCopy switches to a directory whose certificate and key are the
// same inodes as before.
func TestHardLinkedCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine, other := equalSize(t), equalSize(t)
	must(t, os.Mkdir(dir+"/v1", 0o700), os.Mkdir(dir+"/v2", 0o700), os.Symlink("v1", dir+"/current"), os.Symlink("v2", dir+"/new"))
	for _, name := range names[:2] {
		must(t, os.WriteFile(dir+"/v1/"+name, mine, 0o600), os.Link(dir+"/v1/"+name, dir+"/v2/"+name))
	}
	must(t, os.WriteFile(dir+"/v1/ca", mine, 0o600), os.WriteFile(dir+"/v2/ca", other, 0o600))
	c, err := New(inFiles(dir + "/current"))
	must(t, err)
	defer c.Close()
	must(t, os.Rename(dir+"/new", dir+"/current"))
	if err := c.Check(); err != nil || c.Reloads() != 1 {
		t.Errorf("Check() = %v with %d reloads, want nil and 1", err, c.Reloads())
	}
}

// TestNextCall makes thousands of changes, each in a way drawn by lot, and
// compares what the very next call uses with what a first reading of the files
// finds. The second time others call all the while, and would take away what the
// wire has to tell, if asking did that.
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
			c := wired(t, cfg)

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
							_ = c.Check() // a rotation under way may show
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
					must(t, manner.put(dir+"/current/"+name, b))
					next()
				}
			}
			t.Logf("%d calls used what was new, %d were refused", taken, failed)
		})
	}
}

// TestEventWithinATick changes content while all marks stay as they are: the
// event alone tells.
func TestEventWithinATick(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range names {
		must(t, os.WriteFile(dir+"/"+name, selfSigned(t), 0o600))
	}
	must(t, os.WriteFile(dir+"/key", mustRead(t, dir+"/cert"), 0o600))
	c := wired(t, inFiles(dir))
	must(t, os.WriteFile(dir+"/ca", selfSigned(t), 0o600))
	missed := *c.state.Load()
	var err error
	missed.marks, err = c.files.marks()
	must(t, err)
	c.state.Store(&missed)
	if err := c.Check(); err != nil || c.Reloads() != 1 {
		t.Errorf("Check() = %v with %d reloads, want nil and 1", err, c.Reloads())
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

// TestLookBesideTheWire has a change trip no wire.
func TestLookBesideTheWire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range names {
			must(t, os.WriteFile(dir+"/"+name, selfSigned(t), 0o600))
		}
		must(t, os.WriteFile(dir+"/key", mustRead(t, dir+"/cert"), 0o600))
		c := wired(t, inFiles(dir))
		c.looked.Store(0)
		c.wire.clear() // deaf, as for what is mounted over the files
		must(t, rename(dir+"/ca", selfSigned(t)))

		time.Sleep(lookEvery - 1)
		if err := c.Check(); err != nil || c.Reloads() != 0 {
			t.Fatalf("Check() = %v with %d reloads, want nil and 0: the wire is deaf", err, c.Reloads())
		}
		time.Sleep(time.Nanosecond)
		if err := c.Check(); err != nil || c.Reloads() != 1 {
			t.Fatalf("Check() = %v with %d reloads, want nil and 1", err, c.Reloads())
		}
		must(t, rename(dir+"/ca", selfSigned(t))) // it was drawn anew
		if err := c.Check(); err != nil || c.Reloads() != 2 {
			t.Fatalf("Check() = %v with %d reloads, want nil and 2", err, c.Reloads())
		}
	})
}

// TestClose goes on without the wire.
func TestClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range names {
		must(t, os.WriteFile(dir+"/"+name, equalSize(t), 0o600))
	}
	must(t, os.WriteFile(dir+"/key", mustRead(t, dir+"/cert"), 0o600))
	c := wired(t, inFiles(dir))
	c.Close()
	c.Close()
	for i := range uint64(3) {
		must(t, rename(dir+"/ca", equalSize(t)))
		if err := c.Check(); err != nil || c.Reloads() != i+1 {
			t.Errorf("Check() = %v with %d reloads, want nil and %d", err, c.Reloads(), i+1)
		}
	}
}

// TestNoPermission takes permissions away from a user who is not root, who
// passes through one directory that he may not read.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(dir string) error
		undo   func(dir string) error
	}{
		{"of the key", func(dir string) error { return os.Chmod(dir+"/pass/key", 0) },
			func(dir string) error { return os.Chmod(dir+"/pass/key", 0o600) }},
		{"of the directory", func(dir string) error { return os.Chmod(dir+"/pass", 0) },
			func(dir string) error { return os.Chmod(dir+"/pass", 0o311) }},
		{"of the directory above", func(dir string) error { return os.Chmod(dir, 0) },
			func(dir string) error { return os.Chmod(dir, 0o700) }},
		{"with the directory", func(dir string) error { return os.Rename(dir+"/pass", dir+"/gone") },
			func(dir string) error { return os.Rename(dir+"/gone", dir+"/pass") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, os.Mkdir(dir+"/pass", 0o700))
			content := equalSize(t)
			for _, name := range names {
				must(t, os.WriteFile(dir+"/pass/"+name, content, 0o600))
			}
			asUser(t, dir, func() {
				must(t, os.Chmod(dir+"/pass", 0o311))
				defer func() { _ = os.Chmod(dir+"/pass", 0o700) }()
				c := wired(t, inFiles(dir+"/pass"))
				for range 2 {
					must(t, tc.change(dir))
					if err := c.Check(); !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist) {
						t.Errorf("Check() = %v, want the trouble", err)
					}
					must(t, tc.undo(dir))
					if err := c.Check(); err != nil || c.Reloads() != 0 || c.trust.Load() != byWire {
						t.Errorf("healed: Check() = %v with %d reloads by trust %d, want nil, 0, by the wire", err, c.Reloads(), c.trust.Load())
					}
				}
			})
		})
	}
}

// asUser calls f as somebody whom permissions bind, and gives him dir.
func asUser(t *testing.T, dir string, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	}))
	for up := filepath.Dir(dir); up != "/"; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		must(t, err)
		if info.Mode()&0o005 != 0o005 {
			must(t, os.Chmod(up, info.Mode()|0o055))
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
		if err := unix.Setfsuid(nobody); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// TestTripwire tells what a wire can be drawn for, and what does not trip it.
func TestTripwire(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/a/b", 0o700), os.WriteFile(dir+"/a/file", []byte("x"), 0o600),
		os.Symlink("../a/./b//../file", dir+"/a/relative"), os.Symlink(dir+"/a/relative", dir+"/absolute"),
		os.Symlink("round", dir+"/round"), os.Symlink("nowhere", dir+"/dangling"))
	t.Chdir(dir + "/a")
	wire := newTripwire()
	t.Cleanup(func() { wire.close() })
	if !wire.draw([]string{dir + "/a/file"}) {
		t.Skip("the file system does not tell of changes, or this user has no inotify instance left")
	}
	for _, tc := range []struct {
		path string
		want bool
	}{
		{dir + "/absolute", true},
		{"file", true},
		{"./../absolute", true},
		{"b/../relative", true},
		{"round", false},
		{"../round", false},
		{"../dangling", false},
		{"../missing/file", false},
		{"/proc/self/root" + dir + "/a/file", false}, // nobody can tell where that leads
	} {
		if got := wire.draw([]string{dir + "/a/file", tc.path}); got != tc.want {
			t.Errorf("drawn for %q: %t, want %t", tc.path, got, tc.want)
		}
		if wire.tripped() {
			t.Errorf("%q: tripped by nothing", tc.path)
		}
		if !tc.want && len(wire.watches) != 0 {
			t.Errorf("%q: watches are left", tc.path)
		}
	}
	if !wire.draw([]string{dir + "/absolute"}) {
		t.Fatal("not drawn")
	}
	must(t, os.WriteFile(dir+"/a/beside", []byte("x"), 0o600), os.Remove(dir+"/a/beside"), os.Mkdir(dir+"/a/below", 0o700),
		os.Rename(dir+"/a/below", dir+"/a/renamed"), os.Remove(dir+"/a/renamed"))
	if _, err := os.ReadFile(dir + "/absolute"); err != nil || wire.tripped() {
		t.Errorf("tripped by what is none of its business (%v)", err)
	}
	// Once by each, and still when asked again; before the first event and after many.
	for range 2 {
		must(t, os.Chtimes(dir+"/a/file", longAgo, longAgo))
		for range 2 {
			if !wire.tripped() {
				t.Error("not tripped")
			}
		}
		for range 1000 {
			must(t, os.Chmod(dir+"/a/file", 0o400), os.WriteFile(dir+"/a/file", nil, 0o600))
		}
		if !wire.draw([]string{dir + "/absolute"}) || wire.tripped() {
			t.Error("not drawn anew")
		}
	}
	if slices.Contains(wire.watches, 0) {
		t.Error("a watch without a number")
	}
	if (&tripwire{}).draw(nil) {
		t.Error("the zero value is drawn")
	}
}
