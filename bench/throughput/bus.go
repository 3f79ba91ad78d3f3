package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// producer is the producer of all requests.
const producer = "bench"

// bus holds the servers, each in a process of its own.
type bus struct {
	cluster  *testbed.Cluster
	replicas int
	nc       *nats.Conn
	js       jetstream.JetStream
}

func openBus(dir string, replicas int, sync bool) (*bus, error) {
	b := &bus{replicas: replicas}
	var err error
	if b.cluster, err = testbed.RunCluster(testbed.ClusterConfig{Dir: dir, Size: replicas, SyncAlways: sync, Process: true}); err != nil {
		return nil, err
	}
	if b.nc, err = b.cluster.Connect(); err == nil {
		b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(1024))
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bus) close() {
	if b.nc != nil {
		b.nc.Close()
	}
	b.cluster.Stop()
}

// cpu returns the CPU time of all servers so far.
func (b *bus) cpu() (sum time.Duration, err error) {
	for _, s := range b.cluster.Servers {
		u, uErr := s.Usage()
		sum, err = sum+u.CPU, errors.Join(err, uErr)
	}
	return sum, err
}

// road is a pair of streams, one for requests and one for results.
type road struct {
	bus                         *bus
	prefix                      string
	requests, consumer, results string // names
}

// layout returns the layout of a worker with a prefix.
func layout(prefix string, replicas int) streams.Layout {
	l := streams.DefaultLayout()
	l.Prefix, l.Replicas = prefix, replicas
	for _, name := range []*string{&l.Requests, &l.Parked, &l.Results, &l.Dead, &l.Orders, &l.Control, &l.Certs, &l.Keys, &l.Audit, &l.Incidents} {
		*name = strings.Replace(*name, "ENTRUST", strings.ToUpper(prefix), 1)
	}
	return l
}

// workerRoad makes the streams of a worker.
func (b *bus) workerRoad(ctx context.Context, prefix string) (*road, error) {
	l := layout(prefix, b.replicas)
	// A cluster that has just elected its leader may not answer yet.
	err := testbed.UntilEvery(ctx, 200*time.Millisecond, "the streams of "+prefix+" are made", func() (bool, error) {
		_, err := streams.Provision(ctx, b.js, l)
		return err == nil, err
	})
	return &road{b, prefix, l.Requests, streams.ConsumerIssue, l.Results}, err
}

// bareRoad makes streams for a bare loop, like a worker's.
func (b *bus) bareRoad(ctx context.Context, prefix string) (*road, error) {
	r := &road{b, prefix, strings.ToUpper(prefix) + "_REQUESTS", "loop", strings.ToUpper(prefix) + "_RESULTS"}
	subjects := entrustbus.Subjects{Prefix: prefix}
	for _, c := range []jetstream.StreamConfig{
		{Name: r.requests, Subjects: []string{subjects.RequestFilter(entrustbus.KindIssue)}, Retention: jetstream.WorkQueuePolicy, Replicas: b.replicas},
		{Name: r.results, Subjects: []string{subjects.ResultFilter()}, Replicas: b.replicas},
	} {
		if _, err := b.js.CreateStream(ctx, c); err != nil {
			return nil, fmt.Errorf("making stream %s: %w", c.Name, err)
		}
	}
	_, err := b.js.CreateConsumer(ctx, r.requests, jetstream.ConsumerConfig{
		Durable: r.consumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: 4096,
	})
	return r, err
}

// request returns the message of one request of the producer.
func (r *road) request(id string, csr []byte) (*nats.Msg, error) {
	return r.requestOf(producer, id, csr)
}

func (r *road) requestOf(producer, id string, csr []byte) (*nats.Msg, error) {
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, &entrustbus.Issue{ID: id, CSRDER: csr})
	return &nats.Msg{
		Subject: entrustbus.Subjects{Prefix: r.prefix}.Request(producer, entrustbus.KindIssue), Data: body,
		Header: nats.Header{entrustbus.HeaderContentType: {entrustbus.EncodingMsgpack.ContentType()}},
	}, err
}

// fill publishes requests while the consumer is paused, so that the publisher takes no
// CPU from the measured processes.
func (r *road) fill(ctx context.Context, ids []string, csrs [][]byte) error {
	return r.fillFrom(ctx, ids, csrs, 1)
}

// fillFrom is fill for requests of several producers in turn.
func (r *road) fillFrom(ctx context.Context, ids []string, csrs [][]byte, producers int) error {
	if _, err := r.bus.js.PauseConsumer(ctx, r.requests, r.consumer, time.Now().Add(time.Hour)); err != nil {
		return fmt.Errorf("pausing %s: %w", r.consumer, err)
	}
	for i, id := range ids {
		from := producer
		if k := i % producers; k > 0 {
			from = fmt.Sprint(producer, k)
		}
		msg, err := r.requestOf(from, id, csrs[i])
		if err != nil {
			return err
		}
		if _, err := r.bus.js.PublishMsgAsync(msg, jetstream.WithStallWait(time.Minute)); err != nil {
			return fmt.Errorf("publishing requests: %w", err)
		}
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.bus.js.PublishAsyncComplete():
		return nil
	}
}

// drain resumes the consumer and returns when all requests have their result and are
// acknowledged. It returns the results a second that the server stored, from the first
// twentieth to the last: this excludes the start and the end of the round.
func (r *road) drain(ctx context.Context, n int) (float64, error) { return r.drainTo(ctx, n, true) }

// drainTo is drain; without all it returns as soon as n orders have their result.
func (r *road) drainTo(ctx context.Context, n int, all bool) (float64, error) {
	results, err := r.bus.js.Stream(ctx, r.results)
	if err != nil {
		return 0, err
	}
	cons, err := r.bus.js.Consumer(ctx, r.requests, r.consumer)
	if err != nil {
		return 0, err
	}
	before := results.CachedInfo().State.LastSeq
	if _, err := r.bus.js.ResumeConsumer(ctx, r.requests, r.consumer); err != nil {
		return 0, fmt.Errorf("resuming %s: %w", r.consumer, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	err = testbed.Until(ctx, "all orders have their result", func() (bool, error) {
		info, err := results.Info(ctx)
		if err != nil || info.State.LastSeq < before+uint64(n) || !all {
			return err == nil && info.State.LastSeq >= before+uint64(n), err
		}
		c, err := cons.Info(ctx)
		return err == nil && c.NumPending == 0 && c.NumAckPending == 0, err
	})
	if err != nil {
		return 0, err
	}
	margin := uint64(n / 20)
	first, err := results.GetMsg(ctx, before+1+margin)
	if err != nil {
		return 0, err
	}
	last, err := results.GetMsg(ctx, before+uint64(n)-margin)
	if err != nil {
		return 0, err
	}
	return float64(last.Sequence-first.Sequence) / last.Time.Sub(first.Time).Seconds(), nil
}
