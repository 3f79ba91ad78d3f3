package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Worker is one worker process.
type Worker struct {
	*Process
	// Log is the file that the process appends its log to.
	Log string

	http string // base URL of metrics and profiles
}

// StartWorker starts the worker's binary and returns without waiting for it. env, as
// NAME=value, is the worker's only configuration. The worker serves metrics and profiles
// on a free port unless env sets one.
func StartWorker(bin string, env []string, logFile string) (*Worker, error) {
	const addrKey = "ENTRUST_WORKER_HTTP_ADDR="
	w := &Worker{Log: logFile}
	if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, addrKey) }) {
		addrs, err := freeAddrs(1)
		if err != nil {
			return nil, err
		}
		w.http = "http://" + addrs[0]
		env = append(slices.Clip(env), addrKey+addrs[0], "ENTRUST_WORKER_HTTP_PPROF=true")
	}
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own copy
	cmd := exec.Command(bin, "run")
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, out
	w.Process, err = Spawn(cmd)
	return w, err
}

// Ready returns when the worker has reached its gateway. It kills the worker if ctx ends
// or a minute passes first.
func (w *Worker) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := Until(ctx, "the worker has reached its gateway", func() (bool, error) {
		if !w.Running() {
			cancel()
			return false, fmt.Errorf("the worker ended: %w", w.err)
		}
		closed, err := w.Metric(ctx, `entrust_worker_breaker_state{state="closed"}`)
		return err == nil && closed == 1, err
	})
	if err != nil {
		w.Kill()
		return fmt.Errorf("%w; the worker's log is %s", err, w.Log)
	}
	return nil
}

// Metric returns one metric of the worker. name is written as in /metrics, with labels.
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

// Profile writes a profile of the worker to file. which is the path below /debug/pprof/,
// such as "heap?gc=1" or "profile?seconds=60".
func (w *Worker) Profile(ctx context.Context, which, file string) error {
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
	// A kept connection would count among the worker's goroutines.
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
