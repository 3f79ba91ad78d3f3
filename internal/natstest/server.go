// Package natstest runs real nats-servers with JetStream on disk, for tests, the
// sandbox's own checks and the chaos runs. Nothing that entrust-worker is built
// from may import it.
//
// A server runs in this process (quick to start) or as a child process (can be
// killed the hard way). Either keeps its port and its folder over a restart.
package natstest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// readyWithin bounds how long a server may take to accept connections.
const readyWithin = 20 * time.Second

// Config says how to run one server. The zero value runs it in this process, on a
// free port, with its files in a folder of its own below the system's temporary one.
type Config struct {
	// Dir holds configuration and JetStream files. Empty: a new temporary folder.
	Dir string
	// Name is the server's name. Empty: "test".
	Name string
	// Extra is appended to the configuration file, in nats-server's own syntax.
	Extra string
	// Process runs the server as a child process, so that Kill is a SIGKILL.
	Process bool
	// Env is added to the environment of the child process, as NAME=value.
	Env []string

	port int
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

// engine is a way to run the server.
type engine interface {
	start(confFile string) error
	// stop ends the server; hard means without giving it a chance to tidy up,
	// as far as the engine can.
	stop(hard bool)
	// freeze stops or resumes the server's threads, and tells whether it can.
	freeze(on bool) bool
	// log is what the server wrote, for error texts.
	log() string
}

// Run starts a server that lives until Stop or Kill.
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
func Start(t testing.TB, extra ...string) *Server {
	t.Helper()
	return start(t, Config{Extra: strings.Join(extra, "\n")})
}

// StartProcess is Start with the server as a child process, so that Kill is a SIGKILL.
func StartProcess(t testing.TB, extra ...string) *Server {
	t.Helper()
	return start(t, Config{Extra: strings.Join(extra, "\n"), Process: true})
}

func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	cfg.Dir = t.TempDir()
	s, err := Run(cfg)
	if err != nil {
		t.Fatalf("starting nats-server: %v", err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Restart starts the server if it does not run, on the port and folder it had, and
// stops it gracefully before that if it does.
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

// Stop ends the server gracefully and returns when it is gone. Stopping a server
// that does not run does nothing.
func (s *Server) Stop() { s.end(false) }

// Kill ends the server at once: a SIGKILL for a child process. Within this process
// no such thing exists and Kill is Stop.
func (s *Server) Kill() { s.end(true) }

func (s *Server) end(hard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up {
		s.eng.stop(hard)
		s.up = false
	}
}

// Freeze stops the server from running until it is called with false: it neither
// answers nor closes a connection, as behind a partition. Only a child process can
// be frozen; within this process Freeze does nothing and returns false.
func (s *Server) Freeze(on bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up && s.eng.freeze(on)
}

// Running tells whether the server was started and not stopped.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

// Connect opens a connection that reconnects for ever; the caller closes it.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	return connect(s.URL, opts...)
}

func connect(url string, opts ...nats.Option) (*nats.Conn, error) {
	base := []nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond),
	}
	return nats.Connect(url, append(base, opts...)...)
}

// Conn is a connection that reconnects for ever and is closed when the test ends.
func (s *Server) Conn(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := s.Connect(opts...)
	if err != nil {
		t.Fatalf("connecting to %s: %v", s.URL, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// JetStream is the JetStream of a connection made with Conn.
func (s *Server) JetStream(t testing.TB, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(s.Conn(t, opts...))
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
		dir, err := os.MkdirTemp("", "natstest-")
		if err != nil {
			return nil, err
		}
		cfg.Dir = dir
	}
	if cfg.port == 0 {
		ports, err := freePorts(1)
		if err != nil {
			return nil, err
		}
		cfg.port = ports[0]
	}
	conf := filepath.Join(cfg.Dir, "nats.conf")
	// Nothing tests the disk: the store's default fsync interval of two minutes stays.
	text := fmt.Sprintf("server_name: %q\nlisten: \"127.0.0.1:%d\"\njetstream { store_dir: %q }\n%s\n%s\n",
		cfg.Name, cfg.port, filepath.Join(cfg.Dir, "store"), cluster, cfg.Extra)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	var eng engine = &inProcess{}
	if cfg.Process {
		eng = &child{dir: cfg.Dir, env: cfg.Env}
	}
	return &Server{
		Name: cfg.Name,
		URL:  fmt.Sprintf("nats://127.0.0.1:%d", cfg.port),
		conf: conf,
		eng:  eng,
	}, nil
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

// freePorts finds n ports nobody listens on at this moment.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		// Closed only at the end: otherwise the same port may come twice.
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
