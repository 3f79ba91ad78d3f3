//go:build integration && unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is one bash that runs the blocks of a page in their order, in a folder of its own.
// testdata/shell.sh has its functions.
type shell struct {
	dir, work string // the reader's folder; the test's
	env       []string
	calls     strings.Builder
}

// buildPrograms builds what the commands of the pages run, and returns the GOPATH whose bin has
// them.
func buildPrograms(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(path, "bin")+"/",
		"./cmd/entrust-worker", "./cmd/entrust-sandbox", "github.com/nats-io/nats-server/v2")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v: %s", err, out)
	}
	return path
}

// newShell returns a shell with the environment of a user who is new to the machine, but for
// Go's caches.
func newShell(t *testing.T, gopath string) *shell {
	t.Helper()
	s := &shell{dir: t.TempDir(), work: t.TempDir()}
	caches, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE", "GOMODCACHE", "GOFLAGS").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache := strings.Split(string(caches), "\n")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.work, "LC_ALL=C.UTF-8",
		"GOPATH=" + gopath, "GOCACHE=" + cache[0], "GOMODCACHE=" + cache[1], "GOFLAGS=" + cache[2],
		"root=" + root, "work=" + s.work, "test=" + test,
		"ENTRUST_WORKER_HTTP_ADDR=127.0.0.1:0", // another worker may have the default
		"ENTRUST_WORKER_LOG_FORMAT=text",       // as on a terminal
		"PYTHONPATH=" + filepath.Join(root, "cmd/entrust-sandbox/testdata/nats-py"), "PYTHONDONTWRITEBYTECODE=1",
	}
	return s
}

// add has the shell run the commands of a block. Of those that stay up, one is the last.
func (s *shell) add(t *testing.T, b block) {
	t.Helper()
	commands := strings.TrimSpace(b.text)
	before, last := "", commands
	if n := strings.LastIndex(commands, "\n"); n >= 0 {
		before, last = commands[:n+1], commands[n+1:]
	}
	for command, says := range staysUp {
		if strings.HasPrefix(last, command) {
			s.write(t, fmt.Sprintf("%d.sh", b.line), before)
			s.write(t, fmt.Sprintf("%d.stay", b.line), last+"\n")
			fmt.Fprintf(&s.calls, "block %d\nstay %d %s\n", b.line, b.line, quote(says))
			return
		}
	}
	s.write(t, fmt.Sprintf("%d.sh", b.line), commands+"\n")
	fmt.Fprintf(&s.calls, "block %d\n", b.line)
}

func (s *shell) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.work, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs all blocks, ends what stays up, and returns the line of the block that was begun
// last, with an error if it failed.
func (s *shell) run(t *testing.T) (last string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	functions, err := filepath.Abs("testdata/shell.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", ". "+quote(functions)+"\n"+s.calls.String())
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel, cmd.WaitDelay = end, 20*time.Second // for what stays up, once bash has ended it
	out, err := cmd.CombinedOutput()
	_ = end() // fails if no process is left, as it should be
	if ctx.Err() != nil {
		err = fmt.Errorf("does not end; if it is to stay up, add it to staysUp: %w", ctx.Err())
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	begun, readErr := os.ReadFile(filepath.Join(s.work, "begun"))
	return strings.TrimSpace(string(begun)), errors.Join(err, readErr)
}

// printed returns what a block has printed.
func (s *shell) printed(line string) string {
	text, _ := os.ReadFile(filepath.Join(s.work, line+".out")) // there is none of a block that was not begun
	return string(text)
}

// freeAddress returns an address on which nothing listens yet.
func freeAddress(t *testing.T) (address, port string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), port
}
