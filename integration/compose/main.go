// Command compose tests compose.yaml: it builds the images, starts the system and sends
// requests through it from the host. Meanwhile it kills a worker's container, restarts
// that of NATS, and disconnects a worker from the network for a while. It checks that
// every request has one result and no order was enrolled twice. Then it runs the profiles
// real and cluster, the latter with a killed server and with Prometheus.
//
//	go run ./integration/compose [--keep]
//
// It needs a Docker engine and either form of the compose command; without them it prints
// what is missing and ends. It needs no registry: images.sh makes missing base images.
// They stay for the next run; everything else is removed.
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

// prometheusImage must match compose.yaml.
const prometheusImage = "prom/prometheus:v3.5.0"

// within bounds a run that builds everything, base images too.
const within = 25 * time.Minute

func main() {
	keep := flag.Bool("keep", false, "leave the system up, and print how to remove it")
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

// run is the complete run. It removes everything that it started before it returns,
// unless keep is set.
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

// moduleRoot returns the directory of compose.yaml.
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
