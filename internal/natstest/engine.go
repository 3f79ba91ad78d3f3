package natstest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// inProcess runs the server as goroutines of this process.
type inProcess struct{ srv *server.Server }

func (e *inProcess) start(confFile string) error {
	opts, err := server.ProcessConfigFile(confFile)
	if err != nil {
		return err
	}
	opts.NoLog, opts.NoSigs = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	srv.Start()
	if !srv.ReadyForConnections(readyWithin) {
		srv.Shutdown()
		return fmt.Errorf("not ready for connections within %v", readyWithin)
	}
	e.srv = srv
	return nil
}

func (e *inProcess) stop(bool) {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

func (e *inProcess) freeze(bool) bool { return false }

func (e *inProcess) log() string { return "" }

// child runs the server as a process.
type child struct {
	dir string
	env []string
	cmd *exec.Cmd
	out lockedBuffer
}

func (e *child) start(confFile string) error {
	bin, err := binary()
	if err != nil {
		return err
	}
	cmd := exec.Command(bin, "-c", confFile)
	cmd.Env = append(os.Environ(), e.env...)
	cmd.Stdout, cmd.Stderr = &e.out, &e.out
	// A test process that is itself killed must not leave servers behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	e.cmd = cmd
	return nil
}

func (e *child) stop(hard bool) {
	e.freeze(false) // a frozen process hears nothing but SIGKILL
	if hard {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
		return
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	gone := make(chan struct{})
	go func() { _ = e.cmd.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(readyWithin):
		_ = e.cmd.Process.Kill()
		<-gone
	}
}

func (e *child) freeze(on bool) bool {
	if !on {
		return e.cmd.Process.Signal(syscall.SIGCONT) == nil
	}
	if e.cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	// The signal is sent, not yet obeyed: a thread that runs may answer once more.
	for end := time.Now().Add(readyWithin); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if stopped(e.cmd.Process.Pid) {
			return true
		}
	}
	return false
}

// stopped tells whether no thread of the process runs. It needs Linux's /proc.
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, t := range threads {
		line, err := os.ReadFile(t)
		// "pid (name) state ...", and a name may hold anything.
		if end := bytes.LastIndexByte(line, ')'); err != nil || end < 0 || !bytes.HasPrefix(line[end:], []byte(") T")) {
			return false
		}
	}
	return true
}

func (e *child) log() string { return e.out.tail() }

// binary builds nats-server from its module, at the version this module requires,
// once per version and user.
func binary() (string, error) {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/nats-io/nats-server/v2" {
				version = dep.Version
			}
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "entrust-worker-natstest")
	bin := filepath.Join(dir, "nats-server-"+version)
	if _, err := os.Stat(bin); err == nil && version != "unknown" {
		return bin, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Built beside its place and renamed: two test processes may do this at once.
	tmp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	out, err := exec.Command("go", "build", "-o", tmp, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building nats-server: %w: %s", err, out)
	}
	return bin, os.Rename(tmp, bin)
}

// lockedBuffer keeps the last part of what a process writes.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() > 1<<20 {
		b.buf.Reset()
	}
	return b.buf.Write(p)
}

func (b *lockedBuffer) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.buf.String()
	return s[max(0, len(s)-4096):]
}
