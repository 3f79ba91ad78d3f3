package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// workerModule is the module that the worker is built from.
const workerModule = "github.com/entrust-worker/entrust-worker"

// BuildWorker builds the worker into dir, and returns the
// path of the binary. It needs the go command, and the benchmarks' own module
// as the working directory.
func BuildWorker(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", workerModule).Output()
	if err != nil {
		return "", fmt.Errorf("finding the worker's module: %w", err)
	}
	bin := filepath.Join(dir, "entrust-worker")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/entrust-worker")
	build.Dir = strings.TrimSpace(string(root))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the worker: %w: %s", err, out)
	}
	return bin, nil
}

// Worker is one worker process. It is made by StartWorker.
type Worker struct {
	// PID is the process.
	PID int
	// Log is the file that it logs to.
	Log string

	http string // base URL of metrics and profiles
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; set before done is closed
}

// StartWorker starts a worker with the given environment, which is all that
// configures it, and returns when it has reached its gateway. It serves its
// metrics and profiles on a free port, and appends its log to logFile.
func StartWorker(ctx context.Context, bin string, env map[string]string, logFile string) (*Worker, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own
	cmd := exec.Command(bin, "run")
	cmd.Env = []string{"ENTRUST_WORKER_HTTP_ADDR=" + addr, "ENTRUST_WORKER_HTTP_PPROF=true"}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout, cmd.Stderr = out, out
	// A benchmark that is itself killed must not leave workers behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	w := &Worker{PID: cmd.Process.Pid, Log: logFile, http: "http://" + addr, cmd: cmd, done: make(chan struct{})}
	go func() {
		w.err = cmd.Wait()
		close(w.done)
	}()
	return w, w.waitReady(ctx)
}

func (w *Worker) waitReady(ctx context.Context) error {
	for end := time.Now().Add(time.Minute); ; {
		open, err := w.Metric(ctx, `entrust_worker_breaker_state{state="closed"}`)
		if err == nil && open == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			w.Kill()
			return context.Cause(ctx)
		case <-w.done:
			return fmt.Errorf("the worker ended: %w; its log is %s", w.err, w.Log)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			w.Kill()
			return fmt.Errorf("the worker did not reach its gateway; its log is %s", w.Log)
		}
	}
}

// Kill ends the process as SIGKILL does, and returns when it is gone.
func (w *Worker) Kill() {
	_ = w.cmd.Process.Kill() // fails only if it is gone
	<-w.done
}

// Stop asks the process to drain, and returns when it is gone.
func (w *Worker) Stop() error {
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.done:
		return w.err
	case <-time.After(time.Minute):
		w.Kill()
		return errors.New("the worker did not stop within a minute")
	}
}

// Usage is what the process takes.
func (w *Worker) Usage() (Usage, error) { return UsageOf(w.PID) }

// Metric returns one metric of the worker, by its name as /metrics spells it,
// labels included.
func (w *Worker) Metric(ctx context.Context, name string) (float64, error) {
	body, err := w.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	defer body.Close()
	for lines := bufio.NewScanner(body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("the worker has no metric %s", name)
}

// HeapProfile writes the worker's heap profile, taken after a collection, to
// file.
func (w *Worker) HeapProfile(ctx context.Context, file string) error {
	return w.profile(ctx, "heap?gc=1", file)
}

// CPUProfile writes what the worker spends its CPU on during the next seconds to
// file, and returns after them.
func (w *Worker) CPUProfile(ctx context.Context, seconds int, file string) error {
	return w.profile(ctx, fmt.Sprintf("profile?seconds=%d", seconds), file)
}

func (w *Worker) profile(ctx context.Context, which, file string) error {
	body, err := w.get(ctx, "/debug/pprof/"+which)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close())
}

func (w *Worker) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.http+path, nil)
	if err != nil {
		return nil, err
	}
	// A connection that is kept would count among the worker's goroutines.
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("GET %s of the worker: %s", path, resp.Status)
	}
	return resp.Body, nil
}

// freeAddr is an address on which nobody listens at this moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
