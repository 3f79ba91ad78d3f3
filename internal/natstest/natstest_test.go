package natstest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestRestartKeepsPortAndData(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, ...string) *Server{
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
			// The first connection is to find the server again by itself.
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
