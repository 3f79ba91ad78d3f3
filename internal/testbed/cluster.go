package testbed

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ClusterConfig configures a cluster. Dir is required.
type ClusterConfig struct {
	// Dir holds the servers' directories. The caller removes it.
	Dir string
	// Size is the number of servers. Zero: 3. 1: one server without a cluster.
	Size int
	// Extra is appended to each server's configuration file.
	Extra string
	// SyncAlways is passed to each server's Config.
	SyncAlways bool
	// Process runs the servers as child processes, so that Kill is a SIGKILL.
	Process bool
	// Binary is the first binary of the child processes; see Server.Use.
	Binary string
}

// Cluster is a group of nats-servers with one replicated JetStream.
type Cluster struct {
	Servers []*Server
}

// StartCluster runs n servers in this process until the test ends. It returns when they
// have elected a leader.
func StartCluster(t TB, n int, extra ...string) *Cluster {
	t.Helper()
	return startCluster(t, ClusterConfig{Size: n, Extra: strings.Join(extra, "\n")})
}

// StartProcessCluster is StartCluster with the servers as child processes.
func StartProcessCluster(t TB, n int, extra ...string) *Cluster {
	t.Helper()
	return startCluster(t, ClusterConfig{Size: n, Extra: strings.Join(extra, "\n"), Process: true})
}

func startCluster(t TB, cfg ClusterConfig) *Cluster {
	t.Helper()
	cfg.Dir = t.TempDir()
	c, err := RunCluster(cfg)
	if err != nil {
		t.Fatalf("starting cluster: %v", err)
	}
	t.Cleanup(c.Stop)
	return c
}

// RunCluster starts a cluster that runs until Stop, and returns when its JetStream
// answers.
func RunCluster(cfg ClusterConfig) (*Cluster, error) {
	if cfg.Size == 0 {
		cfg.Size = 3
	}
	addrs, err := freeAddrs(2 * cfg.Size)
	if err != nil {
		return nil, err
	}
	clients, routes := addrs[:cfg.Size], addrs[cfg.Size:]
	var peers []string
	for _, r := range routes {
		peers = append(peers, fmt.Sprintf("\"nats://%s\"", r))
	}

	c := &Cluster{}
	for i := range cfg.Size {
		name := fmt.Sprintf("n%d", i+1)
		section := ""
		if cfg.Size > 1 {
			// Clients know only the servers that they are given, so that a test may put
			// its own network between them.
			section = fmt.Sprintf("cluster { name: \"test\", listen: %q, no_advertise: true, routes: [%s] }", routes[i], strings.Join(peers, ", "))
		}
		s, err := prepare(Config{Dir: filepath.Join(cfg.Dir, name), Name: name, Addr: clients[i], Extra: cfg.Extra, SyncAlways: cfg.SyncAlways, Process: cfg.Process}, section)
		if err != nil {
			return nil, err
		}
		if cfg.Binary != "" {
			s.Use(cfg.Binary)
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

// URL returns the URLs of all servers, separated by commas.
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

// Conn returns a connection to the cluster that closes when the test ends.
func (c *Cluster) Conn(t TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return conn(t, c.URL(), opts...)
}

// JetStream returns the JetStream of a connection from Conn.
func (c *Cluster) JetStream(t TB, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	return jetStream(t, c.URL(), opts...)
}

// Server returns the server with a name, nil if there is none.
func (c *Cluster) Server(name string) *Server {
	for _, s := range c.Servers {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Leader returns the server that leads the stream, or, with a consumer's name, that
// consumer. It waits until there is a leader.
func (c *Cluster) Leader(ctx context.Context, js jetstream.JetStream, stream, consumer string) (*Server, error) {
	for {
		name, err := leaderName(ctx, js, stream, consumer)
		if s := c.Server(name); s != nil && s.Running() {
			return s, nil
		}
		if cause := Sleep(ctx, 50*time.Millisecond); cause != nil {
			return nil, fmt.Errorf("looking for the leader of %s %s: %w", stream, consumer, errors.Join(cause, err))
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

// waitLeader returns when JetStream answers with every server as a peer. It leaves its
// stream in place: after the deletion of an account's last stream nats-server 2.15.2
// removes the account's directories, and the next stream may fail.
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
	probe := jetstream.StreamConfig{Name: "TESTBED_PROBE", Storage: jetstream.MemoryStorage, Replicas: min(len(c.Servers), 5)}
	return Until(ctx, "the cluster's JetStream answers", func() (bool, error) {
		// Only a stream on all servers proves that all have joined.
		step, stop := context.WithTimeout(ctx, 2*time.Second)
		defer stop()
		_, err := js.CreateStream(step, probe)
		return err == nil, err
	})
}
