package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// workerModule is the module that the worker is built from.
const workerModule = "github.com/entrust-worker/entrust-worker"

// Build builds the worker into dir and returns the path of the binary. With failpoints
// the binary can die at a failpoint of the crash table; no other build has that code.
// Build needs the go command, and a working directory in the worker's module or in a
// module that requires it.
func Build(ctx context.Context, dir string, failpoints bool) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if failpoints {
		return build(ctx, filepath.Join(dir, "entrust-worker-failpoints"), "", "-tags", "failpoints")
	}
	return build(ctx, filepath.Join(dir, "entrust-worker"), "")
}

// BuildRevision builds the worker of a revision of its repository into dir. It needs git
// and tar besides the needs of Build.
func BuildRevision(ctx context.Context, dir, revision string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	checkout := filepath.Join(dir, "checkout")
	defer os.RemoveAll(checkout)
	tree, archive := filepath.Join(checkout, "tree"), filepath.Join(checkout, "tree.tar")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return "", err
	}
	for _, step := range [][]string{
		{"git", "-C", root, "archive", "--format=tar", "--output=" + archive, revision},
		{"tar", "-xf", archive, "-C", tree},
	} {
		if out, err := exec.CommandContext(ctx, step[0], step[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("checking out %s: %w: %s", revision, err, out)
		}
	}
	return build(ctx, filepath.Join(dir, "entrust-worker-previous"), tree)
}

// build builds the worker of the module in root. A root of "" is the module of the
// working directory, or the module that it requires.
func build(ctx context.Context, bin, root string, flags ...string) (string, error) {
	if root == "" {
		var err error
		if root, err = moduleRoot(ctx); err != nil {
			return "", err
		}
	}
	args := append([]string{"build"}, flags...)
	build := exec.CommandContext(ctx, "go", append(args, "-o", bin, "./cmd/entrust-worker")...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the worker: %w: %s", err, out)
	}
	return bin, nil
}

func moduleRoot(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", workerModule).Output()
	if err != nil {
		return "", fmt.Errorf("finding the worker's module: %w", err)
	}
	return strings.TrimSpace(string(root)), nil
}
