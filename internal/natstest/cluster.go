package natstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ClusterConfig says how to run a cluster.
type ClusterConfig struct {
	// Dir holds the servers' folders. Empty: a new temporary folder.
	Dir string
	// Size is the number of servers. Zero: 3.
	Size int
	// Extra is appended to each server's configuration file.
	Extra string
	// Process runs the servers as child processes, so that Kill is a SIGKILL.
	Process bool
}

// Cluster is a number of nats-servers with one replicated JetStream.
type Cluster struct {
	Servers []*Server
}

// StartCluster runs n servers in this process until the test ends, and returns when
// they have elected a leader.
func StartCluster(t testing.TB, n int, extra ...string) *Cluster {
	t.Helper()
	return startCluster(t, ClusterConfig{Size: n, Extra: strings.Join(extra, "\n")})
}

// StartProcessCluster is StartCluster with the servers as child processes.
func StartProcessCluster(t testing.TB, n int, extra ...string) *Cluster {
	t.Helper()
	return startCluster(t, ClusterConfig{Size: n, Extra: strings.Join(extra, "\n"), Process: true})
}

func startCluster(t testing.TB, cfg ClusterConfig) *Cluster {
	t.Helper()
	cfg.Dir = t.TempDir()
	c, err := RunCluster(cfg)
	if err != nil {
		t.Fatalf("starting cluster: %v", err)
	}
	t.Cleanup(c.Stop)
	return c
}

// RunCluster starts a cluster that lives until Stop, and returns when its JetStream answers.
func RunCluster(cfg ClusterConfig) (*Cluster, error) {
	if cfg.Size == 0 {
		cfg.Size = 3
	}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "natstest-")
		if err != nil {
			return nil, err
		}
		cfg.Dir = dir
	}
	ports, err := freePorts(2 * cfg.Size)
	if err != nil {
		return nil, err
	}
	clients, routes := ports[:cfg.Size], ports[cfg.Size:]
	var peers []string
	for _, p := range routes {
		peers = append(peers, fmt.Sprintf("\"nats://127.0.0.1:%d\"", p))
	}

	c := &Cluster{}
	for i := range cfg.Size {
		name := fmt.Sprintf("n%d", i+1)
		dir := filepath.Join(cfg.Dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		// Clients know the servers that they are told, so that a test may put a
		// network of its own between.
		section := fmt.Sprintf("cluster { name: \"test\", listen: \"127.0.0.1:%d\", no_advertise: true, routes: [%s] }",
			routes[i], strings.Join(peers, ", "))
		s, err := prepare(Config{Dir: dir, Name: name, Extra: cfg.Extra, Process: cfg.Process, port: clients[i]}, section)
		if err != nil {
			return nil, err
		}
		c.Servers = append(c.Servers, s)
	}
	for _, s := range c.Servers {
		if err := s.Restart(); err != nil {
			c.Stop()
			return nil, err
		}
	}
	if err := c.waitLeader(); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// URL names all servers.
func (c *Cluster) URL() string {
	urls := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		urls[i] = s.URL
	}
	return strings.Join(urls, ",")
}

// Stop ends all servers.
func (c *Cluster) Stop() {
	for _, s := range c.Servers {
		s.Stop()
	}
}

// Connect opens a connection to the cluster that reconnects for ever; the caller closes it.
func (c *Cluster) Connect(opts ...nats.Option) (*nats.Conn, error) {
	return connect(c.URL(), opts...)
}

// Conn is a connection to the cluster that is closed when the test ends.
func (c *Cluster) Conn(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := c.Connect(opts...)
	if err != nil {
		t.Fatalf("connecting to %s: %v", c.URL(), err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// JetStream is the JetStream of a connection made with Conn.
func (c *Cluster) JetStream(t testing.TB, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(c.Conn(t, opts...))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Server is the server of that name, nil if there is none.
func (c *Cluster) Server(name string) *Server {
	for _, s := range c.Servers {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Leader is the server that leads the stream, or, with a consumer's name, the one
// that leads that consumer. It waits until there is one.
func (c *Cluster) Leader(ctx context.Context, js jetstream.JetStream, stream, consumer string) (*Server, error) {
	for {
		name, err := leaderName(ctx, js, stream, consumer)
		if s := c.Server(name); s != nil && s.Running() {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("looking for the leader of %s %s: %w", stream, consumer, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func leaderName(ctx context.Context, js jetstream.JetStream, stream, consumer string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if consumer != "" {
		cons, err := js.Consumer(ctx, stream, consumer)
		if err != nil {
			return "", err
		}
		if info := cons.CachedInfo(); info.Cluster != nil {
			return info.Cluster.Leader, nil
		}
		return "", nil
	}
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return "", err
	}
	if info := st.CachedInfo(); info.Cluster != nil {
		return info.Cluster.Leader, nil
	}
	return "", nil
}

// waitLeader returns when JetStream answers with every server as a peer. Its stream
// stays: behind the deletion of an account's last stream nats-server 2.15.2 removes
// the account's folders, and the next stream may fail for it.
func (c *Cluster) waitLeader() error {
	nc, err := c.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*readyWithin)
	defer cancel()
	probe := jetstream.StreamConfig{Name: "NATSTEST_PROBE", Storage: jetstream.MemoryStorage, Replicas: min(len(c.Servers), 5)}
	for {
		// Only a stream on all of them proves that all of them have joined.
		step, stop := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.CreateStream(step, probe)
		stop()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the cluster's JetStream: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
