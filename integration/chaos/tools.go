package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// tools are the binaries for runs. Each is built once, at its first use, into its own
// directory. Safe for concurrent use.
type tools struct {
	dir string

	mu    sync.Mutex
	built map[string]string // path by name
}

// get returns a binary, and builds it first if necessary.
func (t *tools) get(name string, build func(dir string) (string, error)) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if path, ok := t.built[name]; ok {
		return path, nil
	}
	dir := filepath.Join(t.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path, err := build(dir)
	if err == nil {
		t.built[name] = path
	}
	return path, err
}

// worker returns the worker without changes.
func (t *tools) worker(ctx context.Context) (string, error) {
	return t.get("worker", func(dir string) (string, error) { return testbed.Build(ctx, dir, false) })
}

// skewed returns a worker whose clock can be wrong.
func (t *tools) skewed(ctx context.Context) (string, error) {
	return t.get("skewed", func(dir string) (string, error) { return testbed.BuildSkewed(ctx, dir) })
}

// previous returns the worker of another revision.
func (t *tools) previous(ctx context.Context, revision string) (string, error) {
	return t.get("previous", func(dir string) (string, error) { return testbed.BuildRevision(ctx, dir, revision) })
}

// server returns another version of nats-server.
func (t *tools) server(ctx context.Context, version string) (string, error) {
	return t.get("server-"+version, func(dir string) (string, error) { return testbed.InstallServer(ctx, dir, version) })
}
