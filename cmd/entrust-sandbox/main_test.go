package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// runMain in the environment makes the test binary a sandbox, for tests that
// kill one.
const runMain = "ENTRUST_SANDBOX_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// outcome is what one command line came to.
type outcome struct {
	code           int
	stdout, stderr string
}

// sandboxCommand runs a command line in this process, on ports of its own.
func sandboxCommand(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := execute(ctx, append([]string{"--addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"}, args...), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// summaryOf decodes the one JSON object that stdout holds.
func summaryOf(t *testing.T, stdout string) summary {
	t.Helper()
	var s summary
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		t.Fatalf("reading the summary %q: %v", stdout, err)
	}
	if dec.More() {
		t.Errorf("stdout holds more than one object: %q", stdout)
	}
	return s
}

// quick makes a batch short.
func quick(more ...string) []string {
	return append([]string{"--once", "--json", "--orders", "40", "--approve-after", "300ms", "--latency", "1ms"}, more...)
}

func TestBatchEndsAsPlanned(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"certctl", "cagw", "auto"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			got := sandboxCommand(t, quick("--dialect", dialect, "--workers", "2")...)
			if got.code != 0 {
				t.Fatalf("exit code %d, want 0; stderr:\n%s", got.code, got.stderr)
			}
			s := summaryOf(t, got.stdout)
			if s.Seconds <= 0 {
				t.Errorf("seconds = %v, want more than 0", s.Seconds)
			}
			s.Seconds = 0
			want := summary{Requests: 44, Orders: 40, Revocations: 4, Issued: 38, Revoked: 4, Rejected: 2} // of 40: 5 % rejected, 10 % revoked
			if s != want {
				t.Errorf("summary %+v, want %+v", s, want)
			}
		})
	}
}

// The keys are a contract with scripts.
func TestSummaryKeys(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := (&report{summary: summary{Seconds: 1.23456}}).print(&out, &out, true); err != nil {
		t.Fatal(err)
	}
	want := `{"requests":0,"orders":0,"revocations":0,"issued":0,"revoked":0,"rejected":0,"failed":0,"expired":0,"unconfirmed":0,"cancelled":0,"lost":0,` +
		`"duplicate_enrollments":0,"duplicate_results":0,"seconds":1.235}` + "\n"
	if out.String() != want {
		t.Errorf("got  %s\nwant %s", out.String(), want)
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"surplus"}, `unknown command "surplus"`},
		{[]string{"--nosuch"}, "unknown flag: --nosuch"},
		{[]string{"--orders", "many"}, "--orders"},
		{[]string{"--orders", "-1"}, "--orders must be 0 to 1000000, is -1"},
		{[]string{"--pending", "1.5"}, "--pending must be 0 to 1, is 1.5"},
		{[]string{"--reject", "NaN"}, "--reject must be 0 to 1, is NaN"},
		{[]string{"--reject", "0.6", "--revoke", "0.6"}, "0.6 + 0.6"},
		{[]string{"--latency", "5s"}, "--latency must be 0s to 4s, is 5s"}, // the worker's timeouts would exceed the ack wait
		{[]string{"--approve-after", "-1s"}, "--approve-after must not be negative, is -1s"},
		{[]string{"--workers", "65"}, "--workers must be 0 to 64, is 65"},
		{[]string{"--dialect", "both"}, `--dialect must be certctl, cagw or auto, is "both"`},
		{[]string{"--addr", "4222"}, `--addr must be host:port, is "4222"`},
		{[]string{"--http-addr", "9464"}, `--http-addr must be host:port, is "9464"`},
		{[]string{"gateway", "--dialect", "auto"}, "--dialect must be certctl, cagw or both"},
		{[]string{"gateway", "--persist"}, "--persist needs --data"},
		{[]string{"gateway", "--pending", "2"}, "--pending and --reject must be 0 to 1"},
		{[]string{"gateway", "--base-path", "cagw"}, "--base-path must begin with a slash"},
		{[]string{"gateway", "surplus"}, `unknown command "surplus"`},
		{[]string{"gateway", "keys"}, "--dir is missing: name a folder"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := execute(t.Context(), tt.args, &stdout, &stderr)
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("stderr %q does not say %q", stderr.String(), tt.want)
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout %q, want none", stdout.String())
			}
		})
	}
}

// Scripts tell trouble with the machine from a wrong command line.
func TestTakenAddressIsExitCodeOne(t *testing.T) {
	t.Parallel()
	b, err := startBus(t.Context(), t.TempDir(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	var stdout, stderr bytes.Buffer
	code := execute(t.Context(), []string{"--once", "--addr", strings.TrimPrefix(b.url(), "nats://")}, &stdout, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "address already in use") {
		t.Errorf("exit code %d, stderr %q; want 1 and the reason", code, stderr.String())
	}
}

// Two nats-servers on one folder would destroy it.
func TestFolderIsForOneSandbox(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := sandboxCommand(t, "--once", "--data", dir); got.code != 1 || !strings.Contains(got.stderr, "another sandbox runs in") {
		t.Errorf("exit code %d, stderr %q; want 1 and the reason", got.code, got.stderr)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	if got := sandboxCommand(t, "--once", "--data", dir, "--orders", "1", "--pending", "0", "--latency", "1ms"); got.code != 0 {
		t.Errorf("exit code %d after the first had gone; stderr %q", got.code, got.stderr)
	}
}

// await returns what a command wrote to b once that holds want.
func await(t *testing.T, b *testbed.Buffer, want string) string {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(b.String(), want) {
		if time.Now().After(deadline) {
			t.Fatalf("%q was not written; got:\n%s", want, b.String())
		}
		if err := testbed.Sleep(t.Context(), 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// line returns the rest of the line that begins with the word.
func line(t *testing.T, text, word string) string {
	t.Helper()
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, word); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("no line begins with %q in:\n%s", word, text)
	return ""
}

// A newcomer's session: the batch, the hints, Ctrl-C.
func TestStaysUpUntilInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var stdout, stderr testbed.Buffer
	code := make(chan int, 1)
	go func() {
		code <- execute(ctx, []string{
			"--addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data", dir, "--orders", "6", "--approve-after", "100ms", "--latency", "1ms",
		}, &stdout, &stderr)
	}()
	text := await(t, &stderr, "dead ls")
	for _, want := range []string{"nats://127.0.0.1:", "client.crt", "client.key", ". " + dir + "/env", "7 of 7 results (6 orders, 1 revocations)"} {
		if !strings.Contains(text, want) {
			t.Errorf("stderr lacks %q:\n%s", want, text)
		}
	}
	if !strings.Contains(stdout.String(), "as planned") {
		t.Errorf("stdout lacks the summary:\n%s", stdout.String())
	}
	env, err := os.ReadFile(dir + "/env")
	if err != nil {
		t.Fatal(err)
	}
	if want := "export NATS_URL=" + line(t, text, "NATS"); !strings.Contains(string(env), want) {
		t.Errorf("the environment lacks %q:\n%s", want, env)
	}
	control := strings.TrimSuffix(strings.Fields(line(t, text, "Control"))[0], "/")
	for url, want := range map[string]string{
		control + "/":            "Orders that wait for approval",
		line(t, text, "Workers"): `entrust_worker_results_total{kind="issue",outcome="issued",worker="1"} 6`,
		line(t, text, "Status"):  "sandbox",
		control + "/_sim/stats":  `"issued":6`,
		strings.TrimSuffix(line(t, text, "Workers"), "/metrics") + "/healthz": "ok",
	} {
		if got := get(t, http.DefaultClient, url); !strings.Contains(got, want) {
			t.Errorf("%s lacks %q:\n%s", url, want, got)
		}
	}
	interrupt()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d after an interrupt, want 0; stderr:\n%s", got, stderr.String())
	}
}

func TestInterruptedBatchIsExitCodeOne(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var stdout, stderr testbed.Buffer
	code := make(chan int, 1)
	go func() {
		code <- execute(ctx, []string{"--addr", "127.0.0.1:0", "--data", t.TempDir(), "--workers", "0", "--orders", "3", "--once"}, &stdout, &stderr)
	}()
	await(t, &stderr, "0 of 3 results")
	interrupt()
	if got := <-code; got != 1 {
		t.Errorf("exit code %d, want 1", got)
	}
	if want := "the same command continues the batch"; !strings.Contains(stderr.String(), want) {
		t.Errorf("stderr lacks %q:\n%s", want, stderr.String())
	}
	if stdout.String() != "" {
		t.Errorf("stdout %q, want none", stdout.String())
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"/tmp/a-b_c.d", "/tmp/a-b_c.d"},
		{"sim~issuing", "'sim~issuing'"}, // ~ is a home directory to some shells
		{"a b", "'a b'"},
		{"it's", `'it'\''s'`},
		{"", "''"},
		{"$HOME", "'$HOME'"},
	} {
		if got := quote(tt.in); got != tt.want {
			t.Errorf("quote(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
}
