package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// system is the system of compose.yaml under its own project name and on free ports, so
// that it does not disturb another system.
type system struct {
	*engine
	project               string
	natsPort, controlPort int
	// of the profile cluster
	clusterPort, prometheusPort int
	env                         []string // for compose
	workers                     []string // container ids
	nats                        string
	nc                          *nats.Conn    // connection from the host
	happened                    oracle.Faults // faults of the containers
}

func newSystem(e *engine) (*system, error) {
	s := &system{engine: e, project: fmt.Sprintf("entrust-worker-%d", os.Getpid())}
	for _, port := range []*int{&s.natsPort, &s.controlPort, &s.clusterPort, &s.prometheusPort} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer l.Close()
		*port = l.Addr().(*net.TCPAddr).Port
	}
	s.env = []string{
		fmt.Sprintf("NATS_PORT=%d", s.natsPort),
		fmt.Sprintf("CONTROL_PORT=%d", s.controlPort),
		fmt.Sprintf("CLUSTER_PORT=%d", s.clusterPort),
		fmt.Sprintf("PROMETHEUS_PORT=%d", s.prometheusPort),
		// NATS redelivers a dead worker's messages after this time.
		"ACK_WAIT=10s",
		"APPROVE_AFTER=8s",
	}
	return s, nil
}

// run runs a compose command.
func (s *system) run(ctx context.Context, env []string, args ...string) (string, error) {
	command := append(append([]string{}, s.compose...), "--project-name", s.project)
	return output(ctx, s.root, append(s.env, env...), append(command, args...)...)
}

// up builds the images, starts everything and waits until the workers are ready.
func (s *system) up(ctx context.Context) error {
	if _, err := s.run(ctx, nil, "up", "--build", "--detach"); err != nil {
		return err
	}
	var err error
	if s.workers, err = s.containers(ctx, "worker"); err != nil {
		return err
	}
	if len(s.workers) != 2 {
		return fmt.Errorf("counting workers: got %d, want 2", len(s.workers))
	}
	all, err := s.containers(ctx, "nats")
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("counting containers of NATS: got %d, want 1", len(all))
	}
	s.nats = all[0]
	return s.healthy(ctx, s.workers...)
}

// containers returns the ids of a service's containers, including ended ones.
func (s *system) containers(ctx context.Context, service string) ([]string, error) {
	out, err := s.docker(ctx, "ps", "--all", "--quiet", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+s.project,
		"--filter", "label=com.docker.compose.service="+service)
	return strings.Fields(out), err
}

// healthyWithin bounds the start of a container, and its recovery after a fault.
const healthyWithin = 45 * time.Second

// healthy waits until the health checks of containers succeed.
func (s *system) healthy(ctx context.Context, ids ...string) error {
	ctx, cancel := context.WithTimeout(ctx, healthyWithin)
	defer cancel()
	for _, id := range ids {
		err := testbed.UntilEvery(ctx, 200*time.Millisecond, fmt.Sprintf("container %.12s is healthy", id), func() (bool, error) {
			state, err := s.docker(ctx, "inspect", "--format", "{{.State.Health.Status}}", id)
			if err == nil {
				err = fmt.Errorf("it is %s", state)
			}
			return state == "healthy", err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkConfinement checks the restrictions of compose.yaml and the Dockerfile on the
// running containers, and that the one-time steps succeeded.
func (s *system) checkConfinement(ctx context.Context) error {
	ids, err := s.docker(ctx, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+s.project)
	if err != nil {
		return err
	}
	out, err := s.docker(ctx, append([]string{"inspect"}, strings.Fields(ids)...)...)
	if err != nil {
		return err
	}
	var containers []struct {
		Name   string
		Config struct {
			User   string
			Labels map[string]string
		}
		HostConfig struct {
			ReadonlyRootfs bool
			CapDrop        []string
			Privileged     bool
		}
		State struct {
			Running  bool
			ExitCode int
		}
	}
	if err := json.Unmarshal([]byte(out), &containers); err != nil {
		return fmt.Errorf("reading the restrictions of the containers: %w", err)
	}
	var errs []error
	for _, c := range containers {
		if !strings.HasPrefix(c.Config.User, "65532") || !c.HostConfig.ReadonlyRootfs || c.HostConfig.Privileged || len(c.HostConfig.CapDrop) != 1 {
			errs = append(errs, fmt.Errorf("container %s: user %q, read-only %v, privileged %v, capabilities dropped %v",
				c.Name, c.Config.User, c.HostConfig.ReadonlyRootfs, c.HostConfig.Privileged, c.HostConfig.CapDrop))
		}
		once := map[string]bool{"keys": true, "provision": true}[c.Config.Labels["com.docker.compose.service"]]
		if once == c.State.Running || c.State.ExitCode != 0 {
			errs = append(errs, fmt.Errorf("container %s: running %v, exit code %d", c.Name, c.State.Running, c.State.ExitCode))
		}
	}
	if len(containers) != 6 {
		errs = append(errs, fmt.Errorf("counting containers: got %d, want 6", len(containers)))
	}
	return errors.Join(errs...)
}

// printLogs prints the end of the containers' logs, and saves the complete logs in a
// file.
func (s *system) printLogs() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"ps"},
		{"logs", "--no-color", "--tail=40"},
		{"exec", "-T", "worker", "/entrust-worker", "orders", "ls", "--state", "open"},
		{"exec", "-T", "worker", "/entrust-worker", "orders", "ls", "--state", "parked"},
	} {
		out, err := s.run(ctx, nil, args...)
		if err != nil {
			out = err.Error()
		}
		fmt.Fprintf(os.Stderr, "--- %s\n%s\n", strings.Join(args, " "), out)
	}
	all, err := s.run(ctx, nil, "logs", "--no-color", "--timestamps")
	name := filepath.Join(os.TempDir(), s.project+".log")
	if err = errors.Join(err, os.WriteFile(name, []byte(all), 0o600)); err != nil {
		fmt.Fprintln(os.Stderr, "keeping the logs:", err)
		return
	}
	fmt.Fprintln(os.Stderr, "--- all logs are in", name)
}

// down removes containers, networks and volumes; images stay.
func (s *system) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, err := s.run(ctx, nil, "--profile", "real", "--profile", "cluster", "down", "--volumes", "--remove-orphans", "--timeout", "10")
	return err
}

func (s *system) downCommand() string {
	return strings.Join(s.compose, " ") + " --project-name " + s.project + " --profile real --profile cluster down --volumes"
}
