package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

const (
	// clusterWorkers and clusterServers must match the profile cluster of compose.yaml.
	clusterWorkers = 3
	clusterServers = 3
	// scrapedWithin bounds the wait for Prometheus: several of its intervals.
	scrapedWithin = time.Minute
)

// tryCluster starts the profile cluster beside the rest, and kills a server while orders
// are in flight. If the image of Prometheus exists, it then asks Prometheus for the
// workers.
func (s *system) tryCluster(ctx context.Context, began time.Time) error {
	services := []string{"worker-cluster"}
	_, missing := s.docker(ctx, "image", "inspect", prometheusImage)
	if missing == nil {
		services = append(services, "prometheus")
	}
	if _, err := s.run(ctx, nil, append([]string{"--profile", "cluster", "up", "--detach"}, services...)...); err != nil {
		return err
	}
	workers, err := s.containers(ctx, "worker-cluster")
	if err != nil {
		return err
	}
	if len(workers) != clusterWorkers {
		return fmt.Errorf("counting workers of the cluster: got %d, want %d", len(workers), clusterWorkers)
	}
	if err := s.healthy(ctx, workers...); err != nil {
		return err
	}
	nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", s.clusterPort), nats.Name("compose"), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))
	if err != nil {
		return fmt.Errorf("connecting to the cluster: %w", err)
	}
	defer nc.Close()
	t, err := newTraffic(nc)
	if err != nil {
		return err
	}
	t.burst(ctx, 30)
	// Not the first server: the host is connected to it.
	killed, err := s.containers(ctx, "nats-2")
	if err != nil || len(killed) != 1 {
		return fmt.Errorf("finding the second server: %d containers: %w", len(killed), err)
	}
	faults := new(oracle.Faults)
	end := faults.Begin(submissions)
	err = s.quiet(ctx, "kill", killed[0])
	t.burst(ctx, 30)
	if err == nil {
		err = s.quiet(ctx, "start", killed[0])
	}
	if err == nil {
		err = s.healthy(ctx, killed[0])
	}
	end()
	if err != nil {
		return err
	}
	orders, err := t.settle()
	if err != nil {
		return err
	}
	if err := s.checkCluster(ctx, nc, orders, faults); err != nil {
		return err
	}
	say(began, "%d requests over %d servers, one of them killed: each has one result", len(orders), clusterServers)
	if missing != nil {
		say(began, "Prometheus was not tried: there is no image %s", prometheusImage)
		return nil
	}
	if err := s.scraped(ctx); err != nil {
		return err
	}
	say(began, "Prometheus scrapes %d workers, and has read the alerts", clusterWorkers)
	return nil
}

// checkCluster compares orders with the cluster's bus through the oracle, and checks the
// number of replicas.
func (s *system) checkCluster(ctx context.Context, nc *nats.Conn, orders []*oracle.Order, faults *oracle.Faults) error {
	ctx, cancel := context.WithTimeout(ctx, restWithin)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	layout := streams.DefaultLayout()
	for _, name := range []string{layout.Requests, layout.Parked, layout.Results, layout.Dead} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", name, err)
		}
		if n := stream.CachedInfo().Config.Replicas; n != clusterServers {
			return fmt.Errorf("stream %s has %d replicas, want %d", name, n, clusterServers)
		}
	}
	o := oracle.Oracle{JS: js, Layout: layout, Faults: faults, Others: true}
	_ = o.Rest(ctx) // CheckAtRest reports it
	if o.Gateway, err = s.simulator(ctx); err != nil {
		return err
	}
	r, err := o.CheckAtRest(ctx, orders)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range r.Findings {
		errs = append(errs, errors.New(f))
	}
	return errors.Join(errs...)
}

// scraped waits until Prometheus reports every worker as up, and every alert without an
// error.
func (s *system) scraped(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, scrapedWithin)
	defer cancel()
	return testbed.UntilEvery(ctx, time.Second, "Prometheus sees every worker", func() (bool, error) {
		var up struct {
			Data struct {
				Result []struct {
					Value [2]any `json:"value"`
				} `json:"result"`
			} `json:"data"`
		}
		if err := s.prometheus(ctx, "/api/v1/query?query="+url.QueryEscape(`count(up{job="entrust-worker"} == 1) and count(entrust_worker_build_info)`), &up); err != nil {
			return false, err
		}
		if len(up.Data.Result) != 1 || up.Data.Result[0].Value[1] != fmt.Sprint(clusterWorkers) {
			return false, fmt.Errorf("it sees %v", up.Data.Result)
		}
		var rules struct {
			Data struct {
				Groups []struct {
					Rules []struct {
						Name   string `json:"name"`
						Health string `json:"health"`
					} `json:"rules"`
				} `json:"groups"`
			} `json:"data"`
		}
		if err := s.prometheus(ctx, "/api/v1/rules", &rules); err != nil {
			return false, err
		}
		seen := 0
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				seen++
				if r.Health != "ok" {
					return false, fmt.Errorf("rule %s is %s", r.Name, r.Health)
				}
			}
		}
		return seen > 0, nil
	})
}

func (s *system) prometheus(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", s.prometheusPort, path), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking Prometheus: %w", err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the answer of Prometheus: %w", err)
	}
	return nil
}
