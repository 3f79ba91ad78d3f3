package harness

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// workerPackage is what Build builds.
const workerPackage = "github.com/entrust-worker/entrust-worker/cmd/entrust-worker"

// Build builds the worker into dir and returns the path of the binary. With
// failpoints it can be told to die at an edge of the crash table (see
// Settings.DieAt); that code is in no other build. It needs the go command.
func Build(ctx context.Context, dir string, failpoints bool) (string, error) {
	name, args := "entrust-worker", []string{"build"}
	if failpoints {
		name += "-failpoints"
		args = append(args, "-tags", "failpoints")
	}
	bin := filepath.Join(dir, name)
	out, err := exec.CommandContext(ctx, "go", append(args, "-o", bin, workerPackage)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the worker: %w: %s", err, out)
	}
	return bin, nil
}
