package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"

	"github.com/nats-io/nats-server/v2/server"
)

// engine is a way to run a server.
type engine interface {
	start(confFile string) error
	// stop ends the server. hard ends it without a chance to clean up, as far as the
	// engine can.
	stop(hard bool)
	// freeze stops or resumes the server's threads, and reports whether the engine can do
	// so.
	freeze(on bool) bool
	// log returns the server's output, for error texts.
	log() string
	// pid returns the server's process id, 0 if it has no process of its own.
	pid() int
}

// inProcess runs the server as goroutines of this process.
type inProcess struct{ srv *server.Server }

func (e *inProcess) start(confFile string) error {
	opts, err := server.ProcessConfigFile(confFile)
	if err != nil {
		return err
	}
	opts.NoLog, opts.NoSigs = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	srv.Start()
	if !srv.ReadyForConnections(readyWithin) {
		srv.Shutdown()
		return fmt.Errorf("not ready for connections within %v", readyWithin)
	}
	e.srv = srv
	return nil
}

func (e *inProcess) stop(bool) {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

func (e *inProcess) freeze(bool) bool { return false }

func (e *inProcess) log() string { return "" }

func (e *inProcess) pid() int { return 0 }

// child runs the server as a process.
type child struct {
	bin string // empty: the version that this program was built with
	env []string
	*Process
	out Buffer
}

func (e *child) start(confFile string) error {
	bin := e.bin
	if bin == "" {
		var err error
		if bin, err = serverBinary(); err != nil {
			return err
		}
	}
	cmd := exec.Command(bin, "-c", confFile)
	cmd.Env = append(os.Environ(), e.env...)
	cmd.Stdout, cmd.Stderr = &e.out, &e.out
	p, err := Spawn(cmd)
	if err == nil {
		e.Process = p
	}
	return err
}

func (e *child) stop(hard bool) {
	if hard {
		e.Kill()
		return
	}
	_ = e.Process.Stop(readyWithin) // it is gone even after an error
}

func (e *child) freeze(on bool) bool { return e.Freeze(on) }

func (e *child) log() string { return e.out.Tail(4096) }

func (e *child) pid() int {
	if e.Process == nil {
		return 0
	}
	return e.PID()
}

// serverModule is the module of nats-server.
const serverModule = "github.com/nats-io/nats-server/v2"

// ServerVersion returns the version of nats-server that this program was built with.
func ServerVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == serverModule {
				return dep.Version
			}
		}
	}
	return "of unknown version"
}

// serverBinary builds nats-server at the version that this module requires, once per
// version and user.
func serverBinary() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	version := ServerVersion()
	dir := filepath.Join(cache, "entrust-worker-testbed")
	bin := filepath.Join(dir, "nats-server-"+filepath.Base(version))
	if _, err := os.Stat(bin); err == nil && version[0] == 'v' {
		return bin, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Build in another directory and rename: two tests may do this at once.
	beside, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(beside)
	tmp := filepath.Join(beside, "nats-server")
	out, err := exec.Command("go", "build", "-o", tmp, serverModule).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building nats-server: %w: %s", err, out)
	}
	return bin, os.Rename(tmp, bin)
}

// InstallServer builds another version of nats-server into dir and returns the path of
// its binary. A version such as "v2.14" means the newest of that line. The go command
// downloads it.
func InstallServer(ctx context.Context, dir, version string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	install := exec.CommandContext(ctx, "go", "install", serverModule+"@"+version)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("getting nats-server %s: %w: %s", version, err, out)
	}
	bin := filepath.Join(dir, "nats-server-"+version)
	return bin, os.Rename(filepath.Join(dir, "nats-server"), bin)
}
