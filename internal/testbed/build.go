package testbed

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// workerModule is the module that the worker is built from.
const workerModule = "github.com/entrust-worker/entrust-worker"

// Build builds the worker into dir and returns the path of the binary. With
// failpoints it can be told to die at an edge of the crash table; that code is in no
// other build. It needs the go command, and a working folder in a module that is or
// requires the worker's.
func Build(ctx context.Context, dir string, failpoints bool) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", workerModule).Output()
	if err != nil {
		return "", fmt.Errorf("finding the worker's module: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	name, args := "entrust-worker", []string{"build"}
	if failpoints {
		name += "-failpoints"
		args = append(args, "-tags", "failpoints")
	}
	bin := filepath.Join(dir, name)
	build := exec.CommandContext(ctx, "go", append(args, "-o", bin, "./cmd/entrust-worker")...)
	build.Dir = strings.TrimSpace(string(root))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the worker: %w: %s", err, out)
	}
	return bin, nil
}
