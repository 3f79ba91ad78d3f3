package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// The commands that the sandbox prints work, and a worker started by them, killed
// in the middle of the batch and started again, finishes it.
func TestWorkerByHand(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "entrust-worker")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../entrust-worker").CombinedOutput(); err != nil {
		t.Fatalf("building the worker: %v: %s", err, out)
	}
	dir := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var stdout, stderr testbed.Buffer
	code := make(chan int, 1)
	go func() {
		code <- execute(ctx, []string{
			"--addr", "127.0.0.1:0", "--data", dir, "--workers", "0", "--json",
			"--orders", "200", "--latency", "100ms", "--approve-after", "500ms",
		}, &stdout, &stderr)
	}()
	await(t, &stderr, "0 of 220 results")

	if out, err := byHand(t, dir, bin, "check").CombinedOutput(); err != nil {
		t.Errorf("check: %v: %s", err, out)
	}
	worker := func() *exec.Cmd {
		var log bytes.Buffer
		cmd := byHand(t, dir, bin, "run", "--http-addr", "")
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("a worker's log ends with:\n%s", log.String()[max(0, log.Len()-2000):])
			}
		})
		return cmd
	}
	killed := worker()
	done := awaitResults(t, &stderr)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := killed.Wait(); err == nil {
		t.Error("the worker ended before it was killed")
	}
	second := worker()
	text := await(t, &stderr, "dead ls")
	s := summaryOf(t, stdout.String())
	if s.Lost != 0 || s.DuplicateEnrollments != 0 || s.DuplicateResults != 0 || s.Failed != 0 || s.Expired != 0 {
		t.Errorf("lost or doubled: %+v", s)
	}
	t.Logf("killed after %d results; %d orders are held", done, s.Unconfirmed)

	if out, err := byHand(t, dir, bin, "dead", "ls").Output(); err != nil || !strings.Contains(string(out), "rejected") {
		t.Errorf("dead ls: %v: %q lacks the rejected orders", err, out)
	}
	tryTheHints(t, dir, bin, text, &stderr)
	if err := second.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("the second worker: %v", err)
	}
	interrupt()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d, want 0; stderr:\n%s", got, text)
	}
}

// tryTheHints does what the sandbox suggests once the batch is over, as its reader would, and
// looks at what it shows meanwhile.
func tryTheHints(t *testing.T, dir, bin, text string, shown *testbed.Buffer) {
	t.Helper()
	control := strings.TrimSuffix(strings.Fields(line(t, text, "Control"))[0], "/")
	post := func(path string) {
		t.Helper()
		if !strings.Contains(text, "'"+control+path+"'") {
			t.Errorf("the hints lack %s%s", control, path)
		}
		resp, err := http.Post(control+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			t.Errorf("POST %s: got %s", path, resp.Status)
		}
	}
	verb := func(args ...string) string {
		t.Helper()
		if hint := "go run ./cmd/entrust-worker " + strings.Join(args, " ") + "\n"; !strings.Contains(text, hint) {
			t.Errorf("the hints lack %q", hint)
		}
		out, err := byHand(t, dir, append([]string{bin}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v: %s", args, err, out)
		}
		return string(out)
	}
	post("/_sim/cut")
	post("/_sim/rotate-client")
	verb("request", "issue", "--producer", "me", "--id", "hello-1", "--wait", filepath.Join(dir, "hello.csr"))
	if got := verb("orders", "show", "me.hello-1"); !strings.Contains(got, "issued") {
		t.Errorf("orders show: %s", got)
	}
	await(t, shown, "me.hello-1  issued")
	verb("request", "issue", "--producer", "me", "--id", "hold-1", filepath.Join(dir, "hold.csr"))
	await(t, shown, "; 1 waiting")
	post("/_sim/approve?all=true")
	await(t, shown, "me.hold-1  issued")
	await(t, shown, "since the batch: 2 results (2 issued); 0 waiting")
}

// byHand is a command in a shell that has sourced the environment of the sandbox.
func byHand(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	var words []string
	for _, a := range args {
		words = append(words, quote(a))
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", ". "+quote(filepath.Join(dir, "env"))+" && exec "+strings.Join(words, " "))
	return cmd
}
