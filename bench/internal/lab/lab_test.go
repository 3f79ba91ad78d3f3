package lab

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	var s Spread
	if got := s.At(0.99); got != 0 {
		t.Errorf("an empty spread has a p99 of %v", got)
	}
	for i := 100; i >= 1; i-- {
		s.Add(time.Duration(i) * time.Millisecond)
	}
	for _, tc := range []struct {
		p    float64
		want time.Duration
	}{
		{0, time.Millisecond},
		{0.5, 50 * time.Millisecond},
		{0.99, 99 * time.Millisecond},
		{0.991, 100 * time.Millisecond}, // never below the share that was asked for
		{1, 100 * time.Millisecond},
	} {
		if got := s.At(tc.p); got != tc.want {
			t.Errorf("At(%v) = %v, want %v", tc.p, got, tc.want)
		}
	}
	s.Add(time.Second)
	if got := s.At(1); got != time.Second {
		t.Errorf("after another one the largest is %v, want 1s", got)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := Table{Header: []string{"way", "p99"}}
	table.Add("goroutine", "5 ms")
	table.Add("nak →", "120 ms")
	if got, want := table.String(), "way           p99\ngoroutine    5 ms\nnak →      120 ms\n"; got != want {
		t.Errorf("printed as\n%s\nwant\n%s", got, want)
	}
	if got, want := table.Markdown(), "| way | p99 |\n|---|--:|\n| goroutine | 5 ms |\n| nak → | 120 ms |\n"; got != want {
		t.Errorf("as Markdown\n%s\nwant\n%s", got, want)
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc")
	}
	for begun := time.Now(); time.Since(begun) < 100*time.Millisecond; {
	}
	u, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.RSS < 1<<20 || u.Peak < u.RSS || u.CPU < 10*time.Millisecond {
		t.Errorf("this process takes %+v", u)
	}
}

func TestMachine(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"cores of ", "go1.", "nats-server "} {
		if got := Machine(t.TempDir()); !strings.Contains(got, word) {
			t.Errorf("the machine is %q, without %q", got, word)
		}
	}
}

// What a server is started with reaches it, beside what this process has.
func TestServerEnvironment(t *testing.T) {
	t.Parallel()
	s, err := StartServer(t.TempDir(), "GOGC=321")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	pid, err := os.ReadFile(s.pidFile)
	if err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/environ")
	if err != nil {
		t.Fatal("this module needs Linux: ", err)
	}
	has := func(v string) bool { return strings.Contains("\x00"+string(env), "\x00"+v+"\x00") }
	if !has("GOGC=321") || !has("PATH="+os.Getenv("PATH")) {
		t.Errorf("nats-server has GOGC=321: %v, and the PATH of this process: %v", has("GOGC=321"), has("PATH="+os.Getenv("PATH")))
	}
}
