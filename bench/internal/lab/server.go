package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/natstest"
)

// Server is one nats-server as a process of its own, with JetStream on disk and
// the server's own defaults.
type Server struct {
	*natstest.Server
	pidFile string
}

// StartServer starts a server with its files in dir. env is added to its
// environment, as NAME=value.
func StartServer(dir string, env ...string) (*Server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	pidFile := filepath.Join(dir, "pid")
	s, err := natstest.Run(natstest.Config{Dir: dir, Name: "bench", Process: true, Env: env, Extra: fmt.Sprintf("pid_file: %q", pidFile)})
	if err != nil {
		return nil, fmt.Errorf("starting nats-server: %w", err)
	}
	return &Server{Server: s, pidFile: pidFile}, nil
}

// KillFor kills the server and starts it again after the pause.
func (s *Server) KillFor(pause time.Duration) error {
	s.Kill()
	time.Sleep(pause)
	return s.Restart()
}

// Usage is what the process takes.
func (s *Server) Usage() (Usage, error) {
	text, err := os.ReadFile(s.pidFile)
	if err != nil {
		return Usage{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return Usage{}, fmt.Errorf("reading the process id of nats-server: %w", err)
	}
	return UsageOf(pid)
}
