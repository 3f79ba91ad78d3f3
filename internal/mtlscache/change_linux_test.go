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
	"os"
	"path/filepath"
	"testing"
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

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
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
