//go:build release

package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	root = "github.com/entrust-worker/entrust-worker"
	bus  = root + "/entrustbus"
	// version is the version that the go.mod files require of each other.
	version = "v0.1.0"
)

// shell runs commands in one directory with one environment.
type shell struct {
	t   *testing.T
	dir string
	env []string
}

func (s shell) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(name, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s shell) try(name string, args ...string) (string, error) {
	// A download that hangs must say which one.
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return strings.TrimSpace(string(out)), err
}

func (s shell) in(dir string, env ...string) shell {
	return shell{s.t, dir, append(slices.Clone(s.env), env...)}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// clone makes a repository with one commit from the files of this repository, including
// uncommitted changes.
func clone(t *testing.T) shell {
	t.Helper()
	here := shell{t: t, dir: "../.."}
	files, err := here.try("git", "ls-files", "--cached", "--others", "--exclude-standard")
	if err != nil {
		t.Skipf("not in a git repository, so there is nothing to tag: %v", err)
	}
	there := shell{t: t, dir: t.TempDir(), env: []string{
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.net", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.net",
	}}
	for _, name := range strings.Split(files, "\n") {
		body, err := os.ReadFile(filepath.Join(here.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, but the removal is not committed
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(there.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, string(body))
	}
	there.run("git", "init", "-q")
	there.run("git", "add", "-A")
	there.run("git", "commit", "-qm", "Begin")
	return there
}

// proxy is a module proxy in a directory. The go command fills it from the tags of a
// repository.
type proxy struct{ dir string }

func (p proxy) publish(repo shell, module string) {
	repo.t.Helper()
	publish(p, repo, module, version)
}

func publish(p proxy, repo shell, module, version string) {
	repo.t.Helper()
	// The go command asks github.com; git uses the directory instead.
	repo.in(repo.t.TempDir(), "GOWORK=off", "GOPROXY=direct", "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOMODCACHE="+p.dir,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+repo.dir+".insteadOf", "GIT_CONFIG_VALUE_0=https://"+root,
	).run("go", "mod", "download", module+"@"+version)
}

// environment returns the environment of a machine that takes this repository's modules
// from the proxy. It takes other modules from this machine's module cache or proxy.
func (p proxy) environment(t *testing.T) []string {
	here := shell{t: t}
	return []string{
		// Without cgo, like ./release, so that both tests share compiled packages.
		"CGO_ENABLED=0", "GOWORK=off", "GOSUMDB=off", "GOFLAGS=-mod=mod -modcacherw -trimpath", "GOMODCACHE=" + t.TempDir(), "GOBIN=" + t.TempDir(),
		"GOPROXY=file://" + p.dir + "/cache/download,file://" + here.run("go", "env", "GOMODCACHE") + "/cache/download," + here.run("go", "env", "GOPROXY"),
	}
}

// The tag of entrustbus comes first, then go.sum gets its hash, then the tag of the
// worker: docs/operations.md.
func TestReleaseByTags(t *testing.T) {
	t.Parallel()
	repo, published := clone(t), proxy{t.TempDir()}

	// A clone contains everything that it is built from, before anything is published.
	repo.in(repo.dir, "GOPROXY=off").run("go", "list", "-deps", "./cmd/...", "./entrustbus/...")
	for _, module := range []string{".", "bench", "entrustbus"} {
		if mod := repo.in(filepath.Join(repo.dir, module)).run("go", "mod", "edit", "-json"); !strings.Contains(mod, `"Replace": null`) {
			t.Errorf("go.mod in %s replaces modules, so that nobody can install it: %s", module, mod)
		}
	}

	repo.run("git", "tag", "entrustbus/"+version)
	published.publish(repo, bus)
	user := published.environment(t)
	before := repo.run("cat", "go.mod")
	repo.in(repo.dir, user...).run("go", "get", bus+"@"+version)
	if after := repo.run("cat", "go.mod"); after != before {
		t.Errorf("go.mod is not what `go get %s@%s` leaves:\n%s", bus, version, after)
	}
	if changed := repo.run("git", "status", "--short"); changed != "M go.sum" {
		t.Errorf("the hash of entrustbus changed %q, want go.sum alone", changed)
	}
	// go mod tidy ignores the workspace, so this is the first point at which it can be
	// checked.
	repo.in(repo.dir, user...).run("go", "mod", "tidy", "-diff")
	repo.run("git", "commit", "-qam", "Require "+bus)
	repo.run("git", "tag", version)
	published.publish(repo, root)

	t.Run("go install of the worker", func(t *testing.T) {
		t.Parallel()
		machine := shell{t: t, dir: t.TempDir(), env: user}
		machine.run("go", "install", root+"/cmd/entrust-worker@"+version)
		if got := machine.run(filepath.Join(machine.run("go", "env", "GOBIN"), "entrust-worker"), "version"); !strings.Contains(got, version) {
			t.Errorf("the installed worker says %q, want %s in it", got, version)
		}
	})
	t.Run("a clone without its workspace", func(t *testing.T) {
		t.Parallel()
		alone := shell{t: t, dir: t.TempDir(), env: user}
		alone.run("git", "clone", "-q", "--branch", version, repo.dir, ".")
		alone.in(alone.dir, "GOFLAGS=-mod=readonly -modcacherw").run("go", "list", "-deps", "./cmd/entrust-worker")
	})
	t.Run("go get of entrustbus", func(t *testing.T) {
		t.Parallel()
		program := shell{t: t, dir: t.TempDir(), env: user}
		// A program with an older Go version and its own x/crypto: entrustbus changes
		// neither.
		goMod := "module example.net/user\n\ngo 1.23.0\n\nrequire golang.org/x/crypto v0.31.0\n"
		write(t, filepath.Join(program.dir, "go.mod"), goMod)
		write(t, filepath.Join(program.dir, "main.go"), "package main\n\nimport (\n\t_ \"golang.org/x/crypto/ed25519\"\n\n\t\""+bus+"\"\n)\n\nfunc main() { println(entrustbus.Version) }\n")
		program.run("go", "get", bus+"@"+version)
		program.run("go", "build", "-o", os.DevNull, ".")
		modules := program.run("go", "list", "-m", "all")
		for _, never := range []string{"koanf", "nats-server", root + " "} {
			if strings.Contains(modules, never) {
				t.Errorf("a user of entrustbus gets %s:\n%s", never, modules)
			}
		}
		for _, stays := range []string{"golang.org/x/crypto v0.31.0", bus + " " + version} {
			if !strings.Contains(modules+"\n", stays+"\n") {
				t.Errorf("a user of entrustbus does not have %s:\n%s", stays, modules)
			}
		}
		if mod := program.run("cat", "go.mod"); !strings.Contains(mod, "\ngo 1.23.0\n") || strings.Contains(mod, "toolchain") {
			t.Errorf("entrustbus moves the Go line of its users:\n%s", mod)
		}
	})
}
