package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// away is how long a worker is disconnected: longer than its ack wait, so that others
// take over its in-flight messages while it continues with them.
const away = 14 * time.Second

// submissions is how many orders one fault can leave indeterminate at most: two workers
// with 64 enrollments and 16 resubmissions in flight.
const submissions = 2 * (64 + 16)

// play sends requests during faults, and checks the outcome.
func (s *system) play(ctx context.Context, began time.Time) (err error) {
	s.nc, err = nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", s.natsPort),
		nats.Name("compose"), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))
	if err != nil {
		return fmt.Errorf("connecting from the host: %w", err)
	}
	defer s.nc.Close()
	t, err := newTraffic(s.nc)
	if err != nil {
		return err
	}
	stop := t.flow(ctx, 100*time.Millisecond)
	err = s.faults(ctx, t, began)
	stop()
	if err != nil {
		return err
	}
	orders, err := t.settle()
	if err != nil {
		return err
	}
	r, err := s.check(ctx, orders)
	if err != nil {
		return err
	}
	say(began, "%d requests: %v", r.Orders, r)
	if err := s.tryRealProfile(ctx, t, began); err != nil {
		return err
	}
	return s.tryCluster(ctx, began)
}

// faults injects the faults. A burst of orders precedes each, so that orders are in
// flight.
func (s *system) faults(ctx context.Context, t *traffic, began time.Time) error {
	const burst = 60
	first, second := s.workers[0], s.workers[1]
	steps := []struct {
		say string
		do  func() error
	}{
		{"a worker's container is killed", func() error { return s.quiet(ctx, "kill", first) }},
		{"the NATS container is killed and started again", func() error {
			// Not "restart", which begins with a graceful stop.
			if err := s.quiet(ctx, "kill", s.nats); err != nil {
				return err
			}
			if err := s.quiet(ctx, "start", s.nats); err != nil {
				return err
			}
			return s.healthy(ctx, s.nats)
		}},
		{"the killed worker is started again", func() error {
			if err := s.quiet(ctx, "start", first); err != nil {
				return err
			}
			return s.healthy(ctx, first)
		}},
		{"the other worker is cut off its network", func() error {
			if err := s.quiet(ctx, "network", "disconnect", s.network(), second); err != nil {
				return err
			}
			return testbed.Sleep(ctx, away)
		}},
		{"and joined to it again", func() error {
			if err := s.quiet(ctx, "network", "connect", s.network(), second); err != nil {
				return err
			}
			return s.healthy(ctx, second)
		}},
	}
	for _, step := range steps {
		t.burst(ctx, burst)
		say(began, "%s", step.say)
		end := s.happened.Begin(submissions)
		err := step.do()
		end()
		if err != nil {
			return fmt.Errorf("while %s: %w", step.say, err)
		}
	}
	return nil
}

func (s *system) network() string { return s.project + "_default" }

// quiet runs a docker command and discards its output.
func (s *system) quiet(ctx context.Context, args ...string) error {
	_, err := s.docker(ctx, args...)
	return err
}
