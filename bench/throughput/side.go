package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// side is one way to handle orders: processes and the streams that they serve.
type side struct {
	name    string
	road    *road
	workers []*testbed.Worker
	loops   []*child
	// collector takes the traces of the workers, nil where they export none.
	collector *httptest.Server
}

func (s *side) close() {
	for _, w := range s.workers {
		_ = w.Stop(30 * time.Second) // its measurement is over
	}
	for _, l := range s.loops {
		l.Kill()
	}
	if s.collector != nil {
		s.collector.Close()
	}
}

// named returns the side with a name, which must exist.
func named(sides []*side, name string) *side {
	return sides[slices.IndexFunc(sides, func(s *side) bool { return s.name == name })]
}

// usage sums the usage of the side's processes. peak is that of the largest process.
func (s *side) usage(ctx context.Context) (cpu time.Duration, mallocs float64, peak int64, err error) {
	add := func(p *testbed.Process, n float64, e error) {
		u, uErr := p.Usage()
		for _, e := range []error{e, uErr} {
			if err == nil {
				err = e
			}
		}
		cpu, mallocs, peak = cpu+u.CPU, mallocs+n, max(peak, u.Peak)
	}
	for _, w := range s.workers {
		n, e := w.Metric(ctx, "go_memstats_mallocs_total")
		add(w.Process, n, e)
	}
	for _, l := range s.loops {
		n, e := l.mallocs()
		add(l.Process, n, e)
	}
	return cpu, mallocs, peak, err
}

// startLoop starts a bare loop; without call it only uses the bus.
func startLoop(ctx context.Context, b *bus, name string, sc *scenario, gw gatewayReady, call bool) (*side, error) {
	road, err := b.bareRoad(ctx, fmt.Sprintf("%s%d", name, time.Now().UnixMilli()))
	if err != nil {
		return nil, err
	}
	s := &side{name: name, road: road}
	for range sc.Workers {
		l, err := startChild("loop", bareConfig{
			NATS: b.cluster.URL(), InFlight: sc.InFlight, Gateway: gw, Call: call,
			Requests: road.requests, Consumer: road.consumer, Results: road.prefix + ".result." + producer,
		}, nil)
		if err != nil {
			s.close()
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	return s, nil
}

// startWorkers starts the workers of a scenario from one binary.
func startWorkers(ctx context.Context, b *bus, name, bin, dir string, sc *scenario, gw gatewayReady) (*side, error) {
	road, err := b.workerRoad(ctx, fmt.Sprintf("%s%d", name, time.Now().UnixMilli()))
	if err != nil {
		return nil, err
	}
	s := &side{name: name, road: road}
	settings := sc.env
	if sc.Policy {
		file := filepath.Join(dir, road.prefix+"-policy.yaml")
		if err := os.WriteFile(file, []byte(twentyRules), 0o600); err != nil {
			return nil, err
		}
		settings = append(settings, "ENTRUST_WORKER_POLICY_FILE="+file, "ENTRUST_WORKER_AUDIT_ENABLED=on", "ENTRUST_WORKER_PROVISION=true")
	}
	if sc.Traces {
		s.collector = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
		settings = append(settings, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT="+s.collector.URL)
	}
	for i := range sc.Workers {
		env := []string{
			"NATS_URL=" + b.cluster.URL(),
			"CERTCTL_ENTRUST_API_URL=" + gw.URL,
			"CERTCTL_ENTRUST_CA_ID=" + gw.CAID,
			"CERTCTL_ENTRUST_PROFILE_ID=" + gw.Profile,
			"CERTCTL_ENTRUST_CLIENT_CERT_PATH=" + gw.Cert,
			"CERTCTL_ENTRUST_CLIENT_KEY_PATH=" + gw.Key,
			"ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH=" + gw.ServerCA,
			"ENTRUST_WORKER_GATEWAY_DIALECT=" + sc.Dialect,
			"ENTRUST_WORKER_ISSUE_CONCURRENCY=" + strconv.Itoa(sc.InFlight),
			"ENTRUST_WORKER_STREAMS_PREFIX=" + road.prefix,
			"ENTRUST_WORKER_REPLICAS=" + strconv.Itoa(sc.Replicas),
		}
		w, err := testbed.StartWorker(bin, append(env, settings...), filepath.Join(dir, fmt.Sprintf("%s-%d.log", road.prefix, i)))
		if err == nil {
			s.workers = append(s.workers, w)
			err = w.Ready(ctx)
		}
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}
