//go:build linux && (amd64 || arm64 || ppc64le || riscv64 || s390x)

package mtlscache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEveryChangeIsSeen changes one file of three, in each way, while the next
// two calls watch: a held file must not hide what its path leads to.
func TestEveryChangeIsSeen(t *testing.T) {
	t.Parallel()
	old := time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)
	ways := []struct {
		name   string
		change func(dir, path string, next []byte) error
	}{
		{"written in place", func(_, path string, next []byte) error { return os.WriteFile(path, next, 0o600) }},
		{"renamed over", func(_, path string, next []byte) error {
			if err := os.WriteFile(path+".new", next, 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}},
		{"renamed over, older", func(_, path string, next []byte) error {
			if err := os.WriteFile(path+".new", next, 0o600); err != nil {
				return err
			}
			if err := os.Chtimes(path+".new", old, old); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}},
		{"renamed over, the old one kept under another name", func(_, path string, next []byte) error {
			if err := os.Link(path, path+".bak"); err != nil {
				return err
			}
			if err := os.WriteFile(path+".new", next, 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}},
		{"exchanged", func(_, path string, next []byte) error {
			if err := os.WriteFile(path+".new", next, 0o600); err != nil {
				return err
			}
			return unix.Renameat2(unix.AT_FDCWD, path+".new", unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
		}},
		{"removed", func(_, path string, _ []byte) error { return os.Remove(path) }},
		{"renamed away", func(_, path string, _ []byte) error { return os.Rename(path, path+".away") }},
		{"replaced by a link", func(_, path string, next []byte) error {
			if err := os.WriteFile(path+".new", next, 0o600); err != nil {
				return err
			}
			if err := os.Symlink(path+".new", path+".link"); err != nil {
				return err
			}
			return os.Rename(path+".link", path)
		}},
		{"the directory renamed away", func(dir, _ string, _ []byte) error { return os.Rename(dir+"/real", dir+"/gone") }},
		{"the link to the directory switched", func(dir, path string, next []byte) error {
			if err := os.Mkdir(dir+"/real2", 0o700); err != nil {
				return err
			}
			for _, name := range []string{"cert", "key", "ca"} { // copies, but for one
				content, err := os.ReadFile(dir + "/real/" + name)
				if err != nil {
					return err
				}
				if name == filepath.Base(path) {
					content = next
				}
				if err := os.WriteFile(dir+"/real2/"+name, content, 0o600); err != nil {
					return err
				}
			}
			if err := os.Symlink("real2", dir+"/new"); err != nil {
				return err
			}
			return os.Rename(dir+"/new", dir+"/current")
		}},
	}
	for _, linked := range []bool{false, true} {
		for _, name := range []string{"cert", "key", "ca"} {
			for _, way := range ways {
				t.Run(name+" "+way.name, func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					if err := os.Mkdir(dir+"/real", 0o700); err != nil {
						t.Fatal(err)
					}
					if err := os.Symlink("real", dir+"/current"); err != nil {
						t.Fatal(err)
					}
					mine, other := selfSigned(t), selfSigned(t)
					path := func(name string) string { return dir + "/current/" + name }
					for _, name := range []string{"cert", "key", "ca"} {
						target := path(name)
						if linked { // each file is a link of its own
							target = dir + "/target-" + name
							if err := os.Symlink(target, path(name)); err != nil {
								t.Fatal(err)
							}
						}
						if err := os.WriteFile(target, mine, 0o600); err != nil {
							t.Fatal(err)
						}
					}
					c, err := New(Config{CertFile: path("cert"), KeyFile: path("key"), ServerCAFile: path("ca"), HalfRotationWait: -1})
					if err != nil {
						t.Fatal(err)
					}
					if err := c.Check(); err != nil {
						t.Fatal(err)
					}
					if err := way.change(dir, path(name), other); err != nil {
						t.Fatal(err)
					}
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

// TestHold tells which files may be held.
func TestHold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) watched {
		t.Helper()
		w, err := watch(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for _, name := range []string{"cert", "key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("key", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "key"), filepath.Join(dir, "sub", "key")); err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	local := map[uint32]bool{unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true}[uint32(fs.Type)]

	for _, tc := range []struct {
		name, first, file string
		want              bool
	}{
		{"beside the first", "cert", "key", local},
		{"the first itself", "cert", "cert", false},
		{"a link", "cert", "link", false},
		{"in another directory", "cert", "sub/key", false},
	} {
		w := at(tc.file)
		m, err := w.stat()
		if err != nil {
			t.Fatal(err)
		}
		h := w.hold(at(tc.first), m)
		if h.is() != tc.want {
			t.Errorf("%s: held %t, want %t", tc.name, h.is(), tc.want)
		}
		h.release()
	}
	if h := at("key").hold(at("cert"), mark{}); h.is() {
		t.Error("a file that is not what was read is held")
	}
	if tells(-1) {
		t.Error("no file at all tells its changes")
	}
}

// TestSettled has files change while they are read.
func TestSettled(t *testing.T) {
	t.Parallel()
	var (
		a, b, c, d = marks{{ino: 1}}, marks{{ino: 2}}, marks{{ino: 3}}, marks{{ino: 4}}
		errRead    = errors.New("read")
		errStat    = errors.New("stat")
	)
	for _, tc := range []struct {
		name  string
		looks []marks // before the first reading and after each; then stat fails
		read  error
		want  marks
		err   error
		reads int
	}{
		{"quiet", []marks{a, a}, nil, a, nil, 1},
		{"changed once", []marks{a, b, b}, nil, b, nil, 2},
		{"changed twice", []marks{a, b, c, c}, nil, c, nil, 3},
		{"back and forth is a change", []marks{a, b, a, a}, nil, a, nil, 3},
		{"never quiet", []marks{a, b, c, d}, nil, marks{}, nil, 3}, // d was never read
		{"unreadable", []marks{a, a}, errRead, a, errRead, 1},
		{"unreadable because it was just replaced", []marks{a, b, c, d}, errRead, marks{}, nil, 3},
		{"missing", nil, nil, marks{}, errStat, 0},
		{"gone while read", []marks{a}, nil, marks{}, errStat, 1},
	} {
		looked, reads := 0, 0
		content, got, err := settled(func() (marks, error) {
			if looked == len(tc.looks) {
				return marks{}, errStat
			}
			looked++
			return tc.looks[looked-1], nil
		}, func() ([][]byte, error) {
			reads++
			return [][]byte{{byte(reads)}}, tc.read
		})
		if got != tc.want || !errors.Is(err, tc.err) || reads != tc.reads {
			t.Errorf("%s: marks %v, %v after %d readings; want %v, %v after %d", tc.name, got, err, reads, tc.want, tc.err, tc.reads)
		}
		if err == nil && got != (marks{}) && (len(content) != 1 || int(content[0][0]) != tc.reads) {
			t.Errorf("%s: content %v, want that of reading %d", tc.name, content, tc.reads)
		}
	}
}
