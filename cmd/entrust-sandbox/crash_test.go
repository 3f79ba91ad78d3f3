package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// A sandbox that is killed in the middle of its batch, with worker, nats-server
// and simulator in it, is started again on the same folder and finishes.
func TestKilledSandboxFinishesItsBatch(t *testing.T) {
	t.Parallel()
	args := []string{
		"--once", "--json", "--data", t.TempDir(), "--addr", "127.0.0.1:0",
		"--orders", "300", "--latency", "100ms", "--approve-after", "1s",
	}
	var stderr testbed.Buffer
	killed := command(t, &bytes.Buffer{}, &stderr, args...)
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	done := awaitResults(t, &stderr)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := killed.Wait(); err == nil {
		t.Fatal("the sandbox ended before it was killed")
	}

	var stdout, errors bytes.Buffer
	if err := command(t, &stdout, &errors, args...).Run(); err != nil {
		t.Fatalf("going on after %d results: %v; stderr:\n%s", done, err, errors.String())
	}
	s := summaryOf(t, stdout.String())
	if s.Lost != 0 || s.DuplicateEnrollments != 0 || s.DuplicateResults != 0 || s.Failed != 0 || s.Expired != 0 {
		t.Errorf("lost or doubled: %+v", s)
	}
	// What the kill cut off in the middle of a call may be held, one by one.
	if s.Rejected+s.Issued+s.Unconfirmed != 300 || s.Unconfirmed > 16 || s.Requests != 300+s.Revoked {
		t.Errorf("the sums do not add up: %+v", s)
	}
	t.Logf("killed after %d results; %d orders are held", done, s.Unconfirmed)
}

// command is a sandbox as a process of its own.
func command(t *testing.T, stdout, stderr interface{ Write([]byte) (int, error) }, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), runMain+"=1")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd
}

var progressLine = regexp.MustCompile(`(?m)^(\d+) of (\d+) results`)

// awaitResults returns the number of results as soon as there are some, and not
// yet all.
func awaitResults(t *testing.T, stderr *testbed.Buffer) int {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		for _, m := range progressLine.FindAllStringSubmatch(stderr.String(), -1) {
			done, _ := strconv.Atoi(m[1]) // the expression admits digits only
			all, _ := strconv.Atoi(m[2])
			if done >= all {
				t.Fatalf("the batch ended before it could be killed:\n%s", stderr.String())
			}
			if done > 0 {
				return done
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no results came:\n%s", stderr.String())
		}
		if err := testbed.Sleep(t.Context(), 5*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}
