package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// SkewVariable is the environment variable for the clock skew of a worker from
// BuildSkewed: a duration such as "3h" or "-8760h".
const SkewVariable = "TESTBED_CLOCK_SKEW"

// skewSource is compiled into package time of such a worker.
const skewSource = `package time

import "syscall"

// skew is how many seconds the clock is ahead.
var skew = func() int64 {
	text, ok := syscall.Getenv("` + SkewVariable + `")
	if !ok {
		return 0
	}
	d, err := ParseDuration(text)
	if err != nil {
		panic("time: ` + SkewVariable + ` is not a duration: " + text)
	}
	return int64(d / Second)
}()

func skewedNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = runtimeNow()
	return sec + skew, nsec, mono
}
`

// BuildSkewed builds the worker into dir with a standard library whose clock is wrong by
// SkewVariable. This affects every reading of the host's clock in that process, including
// TLS's. The worker's own code is the same as in Build.
func BuildSkewed(ctx context.Context, dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	library, original, err := packageTime(ctx)
	if err != nil {
		return "", err
	}
	skewed, err := skewNow(original)
	if err != nil {
		return "", fmt.Errorf("skewing the clock of %s: %w", library, err)
	}
	replace := map[string]string{}
	for name, text := range map[string][]byte{"time.go": skewed, "testbed_skew.go": []byte(skewSource)} {
		replace[filepath.Join(library, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	return build(ctx, filepath.Join(dir, "entrust-worker-skewed"), "", "-overlay", file)
}

// packageTime returns the directory of the toolchain's package time, and its time.go.
func packageTime(ctx context.Context) (dir string, source []byte, err error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", nil, fmt.Errorf("finding the standard library: %w", err)
	}
	dir = filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err = os.ReadFile(filepath.Join(dir, "time.go"))
	if err != nil {
		return "", nil, fmt.Errorf("reading package time: %w", err)
	}
	return dir, source, nil
}

// skewNow makes the function Now of package time's source read the clock of skewSource.
func skewNow(source []byte) ([]byte, error) {
	const begin, read = "\nfunc Now() Time {", "runtimeNow()"
	head, body, found := bytes.Cut(source, []byte(begin))
	if end := bytes.Index(body, []byte("\n}")); !found || end < 0 || bytes.Count(body[:end], []byte(read)) != 1 {
		return nil, errors.New("time.go reads the clock in an unknown way; adapt skewNow")
	}
	return slices.Concat(head, []byte(begin), bytes.Replace(body, []byte(read), []byte("skewedNow()"), 1)), nil
}
