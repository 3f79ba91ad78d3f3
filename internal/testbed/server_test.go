package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestRestartKeepsPortAndData(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(TB, ...string) *Server{
		"in process": Start,
		"child":      StartProcess,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			js := s.JetStream(t)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(ctx, "s.1", []byte("kept")); err != nil {
				t.Fatal(err)
			}

			s.Kill()
			if s.Running() {
				t.Fatal("a killed server says that it runs")
			}
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}

			st, err := s.JetStream(t).Stream(ctx, "S")
			if err != nil {
				t.Fatal(err)
			}
			if got := st.CachedInfo().State.Msgs; got != 1 {
				t.Errorf("after the restart the stream holds %d messages, want 1", got)
			}
			// The first connection must find the server again by itself.
			if _, err := js.Publish(ctx, "s.2", nil, jetstream.WithRetryAttempts(50)); err != nil {
				t.Errorf("publishing on the old connection: %v", err)
			}
		})
	}
}

func TestClusterSurvivesItsLeader(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3)
	js := c.JetStream(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: "c"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Leader(ctx, js, "S", "c"); err != nil {
		t.Fatal(err)
	}
	first, err := c.Leader(ctx, js, "S", "")
	if err != nil {
		t.Fatal(err)
	}
	first.Kill()
	second, err := c.Leader(ctx, js, "S", "")
	if err != nil {
		t.Fatal(err)
	}
	if second == first {
		t.Errorf("%s still leads after it was killed", first.Name)
	}
	if err := first.Restart(); err != nil {
		t.Error(err)
	}
}

func TestExtraConfigurationReachesTheServer(t *testing.T) {
	t.Parallel()
	s := Start(t, "max_payload: 1234")
	if got := s.Conn(t).MaxPayload(); got != 1234 {
		t.Errorf("max_payload is %d, want 1234", got)
	}
}

func TestFrozenServerHoldsItsConnections(t *testing.T) {
	t.Parallel()
	s := StartProcess(t)
	nc := s.Conn(t)
	if !s.Freeze(true) {
		t.Fatal("a child process cannot be frozen")
	}
	if err := nc.FlushTimeout(200 * time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("a frozen server answers: %v", err)
	}
	s.Freeze(false)
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		t.Errorf("a server that was frozen does not answer: %v", err)
	}
	if nc.Stats().Reconnects != 0 {
		t.Error("a frozen server lost its connection")
	}
	s.Freeze(true)
	s.Stop() // must not hang
}

func TestClusterClientsKnowWhatTheyAreTold(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3)
	nc, err := c.Servers[0].Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := nc.DiscoveredServers(); len(got) != 0 {
		t.Errorf("a client of one server learned of %v", got)
	}
}

// The environment of a server is this process's and Config.Env.
func TestServerEnvironment(t *testing.T) {
	t.Parallel()
	s, err := Run(Config{Dir: t.TempDir(), Process: true, Env: []string{"GOGC=321"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.eng.pid()))
	if err != nil {
		t.Fatal("this test needs Linux: ", err)
	}
	has := func(v string) bool { return strings.Contains("\x00"+string(env), "\x00"+v+"\x00") }
	if !has("GOGC=321") || !has("PATH="+os.Getenv("PATH")) {
		t.Errorf("nats-server has GOGC=321: %v, and the PATH of this process: %v", has("GOGC=321"), has("PATH="+os.Getenv("PATH")))
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
