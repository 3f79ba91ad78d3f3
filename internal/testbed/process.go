package testbed

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Process is a child process. Its methods are safe for concurrent use.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // result of Wait; set before done is closed
}

// Spawn starts a command. On Linux it dies with this process, so that a killed test
// leaves no process behind.
func Spawn(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(cmd.Path), err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// SpawnSelf starts this program with other arguments, and returns its standard input and
// output. Its standard error is this program's.
func SpawnSelf(args ...string) (p *Process, in io.WriteCloser, out io.Reader, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	if in, err = cmd.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		return nil, nil, nil, err
	}
	p, err = Spawn(cmd)
	return p, in, out, err
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Usage returns the resources that the process uses.
func (p *Process) Usage() (Usage, error) { return UsageOf(p.PID()) }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Killed reports whether SIGKILL ended the process. The process must have ended.
func (p *Process) Killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Kill ends the process with SIGKILL, and returns when it has ended.
func (p *Process) Kill() {
	p.Freeze(false)          // a frozen process dies all the same, but is reaped late
	_ = p.cmd.Process.Kill() // fails only if the process has ended
	<-p.done
}

// Stop ends the process with SIGTERM and waits until it has ended. It returns an error if
// the process had to be killed, or ended with another status than 0.
func (p *Process) Stop(within time.Duration) error {
	p.Freeze(false) // a frozen process reacts to SIGKILL only
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(within):
		p.Kill()
		return fmt.Errorf("stopping %s: it did not end within %v", filepath.Base(p.cmd.Path), within)
	}
}

// Freeze stops the process until it is called with false, like a suspended machine. It
// reports whether it succeeded.
func (p *Process) Freeze(on bool) bool {
	if !on {
		return p.cmd.Process.Signal(syscall.SIGCONT) == nil
	}
	if p.cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	// The process may not have stopped yet: a running thread may answer once more.
	for end := time.Now().Add(readyWithin); p.Running() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if stopped(p.PID()) {
			return true
		}
	}
	return false
}

// stopped reports whether all threads of the process are stopped. It needs Linux's /proc.
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, t := range threads {
		line, err := os.ReadFile(t)
		// "pid (name) state ...", and a name may contain any character.
		if end := bytes.LastIndexByte(line, ')'); err != nil || end < 0 || !bytes.HasPrefix(line[end:], []byte(") T")) {
			return false
		}
	}
	return true
}

// Buffer keeps the output of a process or a logger. The zero value is empty and keeps
// everything. It is safe for concurrent use.
type Buffer struct {
	// Most bounds the kept bytes. At least the last Most/2 bytes are kept. Zero: no
	// bound.
	Most int

	mu  sync.Mutex
	buf []byte
}

// Write appends p. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Most > 0 && len(b.buf)+len(p) > b.Most {
		b.buf = append(b.buf[:0], b.buf[len(b.buf)-min(len(b.buf), b.Most/2):]...)
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// String returns all kept bytes.
func (b *Buffer) String() string { return b.Tail(math.MaxInt) }

// Tail returns the last n kept bytes.
func (b *Buffer) Tail(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.buf[max(0, len(b.buf)-n):])
}
