package mtlscache

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// longAgo is older than every file of a test.
var longAgo = time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)

// names are the files that these tests watch.
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

// must ends the test if one of its own steps fails.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// inFiles returns the configuration for the files of dir, without a wait for
// incomplete rotations.
func inFiles(dir string) Config {
	return Config{CertFile: dir + "/cert", KeyFile: dir + "/key", ServerCAFile: dir + "/ca", HalfRotationWait: -1}
}

// tick waits until a change in dir gets a new file time: file systems record times
// in ticks of some milliseconds.
func tick(t testing.TB, dir string) {
	t.Helper()
	stamp := func() int64 {
		var st unix.Stat_t
		must(t, os.WriteFile(dir+"/tick", nil, 0o600), unix.Stat(dir+"/tick", &st))
		return st.Ctim.Nano()
	}
	for first := stamp(); stamp() == first; {
		time.Sleep(time.Millisecond)
	}
}

func rename(path string, content []byte) error {
	return errors.Join(os.WriteFile(path+".new", content, 0o600), os.Rename(path+".new", path))
}

// TestEveryChangeIsSeen changes one file of three in each way, and checks the next
// two calls.
func TestEveryChangeIsSeen(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name   string
		change func(dir, path string, next []byte) error
	}{
		{"written in place", func(_, path string, next []byte) error { return os.WriteFile(path, next, 0o600) }},
		{"written in place, longer", func(_, path string, next []byte) error {
			return os.WriteFile(path, append(next, '\n'), 0o600)
		}},
		{"written in place, as old as before", func(_, path string, next []byte) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(path, next, 0o600), os.Chtimes(path, info.ModTime(), info.ModTime()))
		}},
		{"renamed over", func(_, path string, next []byte) error { return rename(path, next) }},
		{"renamed over, older", func(_, path string, next []byte) error {
			return errors.Join(os.WriteFile(path+".new", next, 0o600), os.Chtimes(path+".new", longAgo, longAgo),
				os.Rename(path+".new", path))
		}},
		{"renamed over, the old one kept under another name", func(_, path string, next []byte) error {
			return errors.Join(os.Link(path, path+".bak"), rename(path, next))
		}},
		{"exchanged", func(_, path string, next []byte) error {
			return errors.Join(os.WriteFile(path+".new", next, 0o600),
				unix.Renameat2(unix.AT_FDCWD, path+".new", unix.AT_FDCWD, path, unix.RENAME_EXCHANGE))
		}},
		{"removed", func(_, path string, _ []byte) error { return os.Remove(path) }},
		{"removed and made again", func(_, path string, next []byte) error { // perhaps with the same inode
			return errors.Join(os.Remove(path), os.WriteFile(path, next, 0o600))
		}},
		{"renamed away", func(_, path string, _ []byte) error { return os.Rename(path, path+".away") }},
		{"replaced by a link", func(_, path string, next []byte) error {
			return errors.Join(os.WriteFile(path+".new", next, 0o600), os.Symlink(path+".new", path+".link"),
				os.Rename(path+".link", path))
		}},
		{"the directory renamed away", func(dir, _ string, _ []byte) error { return os.Rename(dir+"/real", dir+"/gone") }},
		{"the directory removed", func(dir, _ string, _ []byte) error { return os.RemoveAll(dir + "/real") }},
		{"the directory replaced", func(dir, path string, next []byte) error {
			return errors.Join(copyOf(dir, path, next), os.Rename(dir+"/real", dir+"/gone"), os.Rename(dir+"/copy", dir+"/real"))
		}},
		{"the directory exchanged", func(dir, path string, next []byte) error {
			return errors.Join(copyOf(dir, path, next),
				unix.Renameat2(unix.AT_FDCWD, dir+"/copy", unix.AT_FDCWD, dir+"/real", unix.RENAME_EXCHANGE))
		}},
		{"the link to the directory switched", func(dir, path string, next []byte) error {
			return errors.Join(copyOf(dir, path, next), os.Symlink("copy", dir+"/new"), os.Rename(dir+"/new", dir+"/current"))
		}},
		{"the link to the directory made again", func(dir, path string, next []byte) error {
			return errors.Join(copyOf(dir, path, next), os.Remove(dir+"/current"), os.Symlink("copy", dir+"/current"))
		}},
	}
	for _, linked := range []bool{false, true} {
		for _, name := range names {
			for _, way := range ways {
				t.Run(fmt.Sprintf("linked %t, %s %s", linked, name, way.name), func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					must(t, os.Mkdir(dir+"/real", 0o700), os.Symlink("real", dir+"/current"))
					mine, other := equalSize(t), equalSize(t)
					for _, name := range names {
						target := dir + "/current/" + name
						if linked { // each file is its own link
							target = dir + "/target-" + name
							must(t, os.Symlink("../target-"+name, dir+"/current/"+name))
						}
						must(t, os.WriteFile(target, mine, 0o600))
					}
					c, err := New(inFiles(dir + "/current"))
					must(t, err)
					defer c.Close()
					must(t, c.Check())
					tick(t, dir)
					must(t, way.change(dir, dir+"/current/"+name, other))
					for range 2 {
						// A new key or certificate alone does not match; a new CA does.
						if err := c.Check(); err == nil && c.Reloads() == 0 {
							t.Fatal("the change was not seen")
						}
					}
				})
			}
		}
	}
}

// copyOf makes dir/copy from dir/real, with another content for path.
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

// TestNoPermission removes permissions from a user other than root. The user may
// pass through one directory but not read it.
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
			dir, scratch := t.TempDir(), t.TempDir()
			must(t, os.Mkdir(dir+"/pass", 0o700), os.Chmod(scratch, 0o777))
			content := equalSize(t)
			for _, name := range names {
				must(t, os.WriteFile(dir+"/pass/"+name, content, 0o600))
			}
			asUser(t, dir, func() {
				must(t, os.Chmod(dir+"/pass", 0o311))
				defer func() { must(t, os.Chmod(dir+"/pass", 0o700)) }()
				c, err := New(inFiles(dir + "/pass"))
				must(t, err)
				defer c.Close()
				for range 2 {
					tick(t, dir)
					must(t, tc.change(dir))
					if err := c.Check(); !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist) {
						t.Errorf("Check() = %v, want the trouble", err)
					}
					tick(t, scratch)
					must(t, tc.undo(dir))
					if err := c.Check(); err != nil || c.Reloads() != 0 {
						t.Errorf("healed: Check() = %v with %d reloads, want nil and 0", err, c.Reloads())
					}
				}
			})
		})
	}
}

// asUser calls f as a user other than root who owns dir.
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
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		if err := unix.Setfsuid(nobody); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}
