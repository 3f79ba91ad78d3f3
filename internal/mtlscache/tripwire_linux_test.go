package mtlscache

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

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
				defer func() { must(t, os.Chmod(dir+"/pass", 0o700)) }()
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
