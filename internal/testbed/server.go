// Package testbed starts the surroundings of a worker for tests, chaos runs, benchmarks
// and the sandbox: nats-servers and clusters with JetStream on disk, worker processes,
// and networks that can be disturbed. No package of entrust-worker's binary may import
// it.
//
// A server runs in this process, where it starts quickly, or as a child process, which
// can be killed with SIGKILL. It keeps its port and its directory over a restart. Package
// rig combines the parts with a gateway simulator. Package oracle checks the outcome.
package testbed

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// readyWithin bounds how long a server may take to accept connections, including the
// recovery of its streams.
const readyWithin = 30 * time.Second

// TB is the part of *testing.T that this package uses. The sandbox uses this package too,
// and must not link package testing.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Config configures one server. Dir is required.
type Config struct {
	// Dir holds configuration and JetStream files. The caller removes it.
	Dir string
	// Name is the server's name. Empty: "test".
	Name string
	// Addr is the host and port for clients. Empty: a free port of 127.0.0.1.
	Addr string
	// Extra is appended to the configuration file, in nats-server's own syntax.
	Extra string
	// SyncAlways makes JetStream sync each write to disk before it acknowledges the
	// write.
	SyncAlways bool
	// Process runs the server as a child process, so that Kill is a SIGKILL.
	Process bool
	// Env is added to the environment of the child process, as NAME=value.
	Env []string
}

// Server is one nats-server. Its methods are safe for concurrent use.
type Server struct {
	// URL is the client URL; it stays the same over restarts.
	URL string
	// Name is the server's name.
	Name string

	conf string // path of the configuration file
	mu   sync.Mutex
	eng  engine
	up   bool
}

// Run starts a server that runs until Stop or Kill.
func Run(cfg Config) (*Server, error) {
	s, err := prepare(cfg, "")
	if err != nil {
		return nil, err
	}
	if err := s.Restart(); err != nil {
		return nil, err
	}
	return s, nil
}

// Start runs a server in this process until the test ends. Each extra is appended
// to its configuration file, in nats-server's own syntax.
func Start(t TB, extra ...string) *Server {
	t.Helper()
	return start(t, Config{Extra: strings.Join(extra, "\n")})
}

// StartProcess is Start with the server as a child process, so that Kill is a SIGKILL.
func StartProcess(t TB, extra ...string) *Server {
	t.Helper()
	return start(t, Config{Extra: strings.Join(extra, "\n"), Process: true})
}

func start(t TB, cfg Config) *Server {
	t.Helper()
	cfg.Dir = t.TempDir()
	s, err := Run(cfg)
	if err != nil {
		t.Fatalf("starting nats-server: %v", err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Restart starts the server on its port and directory. If the server runs, Restart stops
// it gracefully first.
func (s *Server) Restart() error {
	s.Stop()
	if err := s.launch(); err != nil {
		return err
	}
	return s.waitReady()
}

// launch starts the server without waiting for it.
func (s *Server) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.eng.start(s.conf); err != nil {
		return fmt.Errorf("starting nats-server %q: %w", s.Name, err)
	}
	s.up = true
	return nil
}

// Stop ends the server gracefully and returns when it has ended. It does nothing if the
// server does not run.
func (s *Server) Stop() { s.end(false) }

// Kill ends a child process with SIGKILL. A server in this process cannot be killed: then
// Kill is Stop.
func (s *Server) Kill() { s.end(true) }

func (s *Server) end(hard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up {
		s.eng.stop(hard)
		s.up = false
	}
}

// Freeze stops the server until it is called with false: the server neither answers nor
// closes a connection, as behind a partition. Only a child process can be frozen; for a
// server in this process Freeze does nothing and returns false.
func (s *Server) Freeze(on bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up && s.eng.freeze(on)
}

// Use sets the nats-server binary for the next start; empty is the version that this
// program was built with. It returns false for a server in this process, which has no
// binary.
func (s *Server) Use(bin string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.eng.(*child)
	if ok {
		c.bin = bin
	}
	return ok
}

// Store returns the server's directory of streams.
func (s *Server) Store() string { return filepath.Join(filepath.Dir(s.conf), "store") }

// Running reports whether the server was started and not stopped.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

// Usage returns the resources that the server uses. It fails for a server in this
// process.
func (s *Server) Usage() (Usage, error) {
	s.mu.Lock()
	pid := s.eng.pid()
	s.mu.Unlock()
	if pid == 0 {
		return Usage{}, fmt.Errorf("reading the usage of nats-server %q: it is not a process", s.Name)
	}
	return UsageOf(pid)
}

// Connect opens a connection that reconnects for ever; the caller closes it.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) { return connect(s.URL, opts...) }

// Conn returns a connection that reconnects for ever and closes when the test ends.
func (s *Server) Conn(t TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return conn(t, s.URL, opts...)
}

// JetStream returns the JetStream of a connection from Conn.
func (s *Server) JetStream(t TB, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	return jetStream(t, s.URL, opts...)
}

func connect(url string, opts ...nats.Option) (*nats.Conn, error) {
	base := []nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond),
	}
	return nats.Connect(url, append(base, opts...)...)
}

func conn(t TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := connect(url, opts...)
	if err != nil {
		t.Fatalf("connecting to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func jetStream(t TB, url string, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn(t, url, opts...))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// prepare chooses the port and writes the configuration file.
func prepare(cfg Config, cluster string) (*Server, error) {
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	if cfg.Dir == "" {
		return nil, fmt.Errorf("preparing nats-server %q: Config.Dir must name a directory", cfg.Name)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if cfg.Addr == "" {
		addrs, err := freeAddrs(1)
		if err != nil {
			return nil, err
		}
		cfg.Addr = addrs[0]
	}
	conf := filepath.Join(cfg.Dir, "nats.conf")
	// Streams reserve their maximum size. By default the server offers a share of the
	// free disk, which is too little on a small disk. No test depends on the disk, so the
	// store's default fsync interval of two minutes stays.
	sync := ""
	if cfg.SyncAlways {
		sync = ", sync_interval: always"
	}
	text := fmt.Sprintf("server_name: %q\nlisten: %q\njetstream { store_dir: %q, max_file_store: 64GB%s }\n%s\n%s\n",
		cfg.Name, cfg.Addr, filepath.Join(cfg.Dir, "store"), sync, cluster, cfg.Extra)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	var eng engine = &inProcess{}
	if cfg.Process {
		eng = &child{env: cfg.Env, out: Buffer{Most: 1 << 20}}
	}
	return &Server{Name: cfg.Name, URL: "nats://" + cfg.Addr, conf: conf, eng: eng}, nil
}

// waitReady returns when the port accepts connections.
func (s *Server) waitReady() error {
	addr := strings.TrimPrefix(s.URL, "nats://")
	for end := time.Now().Add(readyWithin); ; {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("nats-server %q is not ready: %w", s.Name, err), errors.New(s.eng.log()))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freeAddrs finds n addresses of 127.0.0.1 that have no listener at this moment.
func freeAddrs(n int) ([]string, error) {
	addrs := make([]string, 0, n)
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		// Closed only at the end: otherwise the same port may come twice.
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
