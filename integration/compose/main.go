// Command compose runs compose.yaml for real: it builds the images, starts the system,
// sends requests through it from the host, kills a worker's container, restarts that of
// NATS, cuts a worker off the network and joins it again, and checks that every request
// has one result and no order was enrolled twice. Then it does the profiles real and cluster,
// the latter with a server killed, and with Prometheus.
//
//	go run ./integration/compose [--keep]
//
// It needs a Docker engine and either form of the compose command; without them it says
// so and is done. It needs no registry: images.sh makes the base images that the engine
// does not have. They stay, for the next run; all else is removed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// prometheusImage is that of compose.yaml.
const prometheusImage = "prom/prometheus:v3.5.0"

// within bounds a run that builds everything again, base images too.
const within = 25 * time.Minute

func main() {
	keep := flag.Bool("keep", false, "leave the system up, and say how to remove it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, within)
	err := run(ctx, *keep)
	cancel()
	stop()
	var missing *skipError
	if errors.As(err, &missing) {
		fmt.Println("skipped:", missing)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run is the whole run. What it started is gone when it returns, unless it is to be kept.
func run(ctx context.Context, keep bool) (err error) {
	began := time.Now()
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	eng, err := findEngine(ctx, root)
	if err != nil {
		return err
	}
	say(began, "engine %s, %s", eng.version, eng.composeVersion)
	made, err := output(ctx, root, nil, "integration/compose/images.sh")
	if err != nil {
		return err
	}
	for line := range strings.Lines(made) {
		say(began, "%s", strings.TrimSpace(line))
	}
	sys, err := newSystem(eng)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			sys.printLogs()
		}
		if keep {
			say(began, "left up; remove it with: %s", sys.downCommand())
			return
		}
		err = errors.Join(err, sys.down())
		say(began, "all removed")
	}()
	if err := sys.up(ctx); err != nil {
		return err
	}
	say(began, "up: NATS on 127.0.0.1:%d, the simulator, %d workers ready", sys.natsPort, len(sys.workers))
	if err := sys.checkConfinement(ctx); err != nil {
		return err
	}
	return sys.play(ctx, began)
}

// say prints one line of progress.
func say(began time.Time, format string, args ...any) {
	fmt.Printf("%5.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

// moduleRoot is the folder of compose.yaml.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := output(ctx, "", nil, "go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	root := filepath.Dir(out)
	if _, err := os.Stat(filepath.Join(root, "compose.yaml")); err != nil {
		return "", fmt.Errorf("looking for compose.yaml beside go.mod: %w", err)
	}
	return root, nil
}
