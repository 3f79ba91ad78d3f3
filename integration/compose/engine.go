package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// skipError names what this machine lacks for the run.
type skipError struct{ what string }

func (e *skipError) Error() string { return e.what }

// engine is a Docker engine with its compose command.
type engine struct {
	root                    string   // of the repository
	compose                 []string // "docker compose", or the older "docker-compose"
	version, composeVersion string
}

// answerWithin bounds the wait for an engine that may not exist.
const answerWithin = 30 * time.Second

func findEngine(ctx context.Context, root string) (*engine, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	e := &engine{root: root}
	var err error
	if e.version, err = output(ctx, root, nil, "docker", "version", "--format", "{{.Server.Version}}"); err != nil {
		return nil, &skipError{"no Docker engine answers"}
	}
	for _, command := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if v, err := output(ctx, root, nil, append(command, "version", "--short")...); err == nil {
			e.compose, e.composeVersion = command, strings.Join(command, " ")+" "+v
			return e, nil
		}
	}
	return nil, &skipError{"there is a Docker engine, but neither docker compose nor docker-compose"}
}

// docker runs a docker command and returns what it prints.
func (e *engine) docker(ctx context.Context, args ...string) (string, error) {
	return output(ctx, e.root, nil, append([]string{"docker"}, args...)...)
}

// output runs a command with additional environment variables, and returns its standard
// output without surrounding white space. The error contains the end of the command's
// output.
func output(ctx context.Context, dir string, env []string, command ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		// A build reports errors on its standard output.
		said := tail(stdout.String()+stderr.String(), 4<<10)
		return "", fmt.Errorf("running %s: %w\n%s", strings.Join(command, " "), err, said)
	}
	return strings.TrimSpace(stdout.String()), nil
}

func tail(s string, n int) string { return strings.TrimSpace(s[max(0, len(s)-n):]) }
