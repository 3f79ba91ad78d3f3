package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// tools are the binaries that runs need. Each is built once, when a run asks for it
// first, into a folder of its own. Safe for concurrent use.
type tools struct {
	dir string

	mu    sync.Mutex
	built map[string]string // path by name
}

// get builds what is not built yet.
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

// worker is the worker as it is shipped.
func (t *tools) worker(ctx context.Context) (string, error) {
	return t.get("worker", func(dir string) (string, error) { return testbed.Build(ctx, dir, false) })
}

// skewed is a worker whose clock can be wrong.
func (t *tools) skewed(ctx context.Context) (string, error) {
	return t.get("skewed", func(dir string) (string, error) { return testbed.BuildSkewed(ctx, dir) })
}

// previous is the worker of another revision.
func (t *tools) previous(ctx context.Context, revision string) (string, error) {
	return t.get("previous", func(dir string) (string, error) { return testbed.BuildRevision(ctx, dir, revision) })
}

// server is nats-server of another version.
func (t *tools) server(ctx context.Context, version string) (string, error) {
	return t.get("server-"+version, func(dir string) (string, error) { return testbed.InstallServer(ctx, dir, version) })
}
