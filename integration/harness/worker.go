package harness

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Worker is one worker process. It is made by Site.StartWorker.
type Worker struct {
	// Log is the file that the process writes its log to.
	Log string

	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; set before done is closed
}

func startWorker(bin string, env []string, logFile string) (*Worker, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own
	cmd := exec.Command(bin, "run")
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, out
	// A test that is itself killed must not leave workers behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	w := &Worker{Log: logFile, cmd: cmd, done: make(chan struct{})}
	go func() {
		w.err = cmd.Wait()
		close(w.done)
	}()
	return w, nil
}

// Kill ends the process as SIGKILL does, and returns when it is gone.
func (w *Worker) Kill() {
	_ = w.cmd.Process.Signal(syscall.SIGCONT) // one that is frozen dies all the same, but is reaped late
	_ = w.cmd.Process.Kill()                  // fails only if it is gone
	<-w.done
}

// Stop asks the process to drain and waits until it is gone. It returns an error
// if the process did not end by itself, or with another status than 0.
func (w *Worker) Stop(within time.Duration) error {
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.done:
		return w.err
	case <-time.After(within):
		w.Kill()
		return fmt.Errorf("the worker did not stop within %v", within)
	}
}

// Freeze stops the process from running until it is called with false: it neither
// works nor dies, like one whose machine was suspended.
func (w *Worker) Freeze(on bool) {
	s := syscall.SIGCONT
	if on {
		s = syscall.SIGSTOP
	}
	_ = w.cmd.Process.Signal(s)
}

// Done is closed when the process is gone.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Killed reports whether the process ended by SIGKILL. It must be gone.
func (w *Worker) Killed() bool {
	status, ok := w.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Running reports whether the process is still there.
func (w *Worker) Running() bool {
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}
