package mtlscache_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// TestBindMounts rotates files that are bind-mounted, in a process with its own mount table. A
// rename over a file that is mounted by itself stays invisible, as documented. A file written
// in place, and a mounted directory, show the new pair.
func TestBindMounts(t *testing.T) {
	t.Parallel()
	const inside = "MTLSCACHE_TEST_MOUNTS"
	if os.Getenv(inside) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBindMounts$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		switch out, err := cmd.CombinedOutput(); {
		case len(out) == 0 && err != nil:
			t.Skipf("this system gives a test no mount table of its own: %v", err)
		case strings.Contains(string(out), "--- SKIP"):
			t.Skipf("this system lets a test mount nothing:\n%s", out)
		case err != nil:
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}

	ca := newAuthority(t)
	for _, tc := range []struct {
		name      string
		directory bool // the directory is mounted, not the file
		inPlace   bool
		reloads   uint64
	}{
		{"a mounted file, renamed over", false, false, 0},
		{"a mounted file, written in place", false, true, 1},
		{"a mounted directory, renamed over in it", true, false, 1},
		{"a mounted directory, written in place", true, true, 1},
	} {
		r := &rig{dir: t.TempDir()}
		p := ca.client(t)
		for _, dir := range []string{"source", "mounted"} {
			if err := os.Mkdir(r.path(dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		source, mounted := r.path("source/pair.pem"), r.path("mounted/pair.pem")
		r.write(t, source, append(p.certPEM, p.keyPEM...))
		from, to := r.path("source"), r.path("mounted")
		if !tc.directory {
			r.write(t, mounted, nil)
			from, to = source, mounted
		}
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(to, unix.MNT_DETACH) })
		cache, err := mtlscache.New(mtlscache.Config{CertFile: mounted, KeyFile: mounted, HalfRotationWait: -1})
		if err != nil {
			t.Fatal(err)
		}
		next := ca.client(t)
		content := append(next.certPEM, next.keyPEM...)
		if tc.inPlace {
			r.write(t, source, content)
		} else {
			r.replace(t, source, content, time.Time{})
		}
		if err := cache.Check(); err != nil || cache.Reloads() != tc.reloads {
			t.Errorf("%s: Check() = %v with %d reloads, want %d", tc.name, err, cache.Reloads(), tc.reloads)
		}
		cache.Close()
	}
}
