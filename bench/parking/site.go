package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// producer is the producer of all requests but the new ones of a surge.
const producer = "bench"

// site is one installation: a nats-server and a worker in their own processes, and the
// gateway simulator in this one.
type site struct {
	dir     string
	bin     string // the worker
	server  *testbed.Server
	gw      *gatewaytest.Server
	worker  *testbed.Worker
	nc      *nats.Conn
	js      jetstream.JetStream
	layout  streams.Layout
	wakeups *wakeup.Store
}

// schedule is a worker's configuration of polling; all other settings are the defaults.
// All waits before a poll are the same, except for jitter.
type schedule struct {
	wait time.Duration
	rate float64 // calls a second to the gateway; 0: no limit
}

// openSite starts everything but the worker.
func openSite(ctx context.Context, bin, dir string, p plan) (*site, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s := &site{dir: dir, bin: bin, layout: streams.DefaultLayout()}
	// The worker requires at least three times the longest wait between two polls.
	s.layout.ResultsDuplicates = 3 * farAway
	var err error
	if s.server, err = p.startServer(filepath.Join(dir, "nats")); err != nil {
		return nil, err
	}
	// The gateway must be cheap: signing must not hide the worker.
	if s.gw, err = gatewaytest.Start(gatewaytest.Config{SkipProof: true, RecordPolls: true, Dir: filepath.Join(dir, "gateway")}); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.nc, err = s.server.Connect(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.js, err = jetstream.New(s.nc, jetstream.WithPublishAsyncMaxPending(2048)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.wakeups = wakeup.New(s.js, s.layout.Parked, s.layout.Subjects())
	if _, err := streams.Provision(ctx, s.js, s.layout); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// start starts the worker.
func (s *site) start(ctx context.Context, sched schedule) error {
	var env []string
	for name, value := range map[string]string{
		"NATS_URL":                              s.server.URL,
		"CERTCTL_ENTRUST_API_URL":               s.gw.URL(),
		"CERTCTL_ENTRUST_CA_ID":                 s.gw.CAID(),
		"CERTCTL_ENTRUST_CLIENT_CERT_PATH":      s.gw.ClientCert(),
		"CERTCTL_ENTRUST_CLIENT_KEY_PATH":       s.gw.ClientKey(),
		"CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS": strconv.Itoa(24 * 60 * 60),
		"ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH": s.gw.ServerCA(),
		"ENTRUST_WORKER_GATEWAY_RATE":           fmt.Sprint(sched.rate),
		"ENTRUST_WORKER_POLL_FIRST":             sched.wait.String(),
		"ENTRUST_WORKER_POLL_MAX":               sched.wait.String(),
		// The default is five minutes. One scan must fall into each measurement.
		"ENTRUST_WORKER_WATCHDOG_EVERY": watchdogEvery.String(),
	} {
		env = append(env, name+"="+value)
	}
	var err error
	if s.worker, err = testbed.StartWorker(s.bin, env, filepath.Join(s.dir, "worker.log")); err != nil {
		return err
	}
	return s.worker.Ready(ctx)
}

// restart drains the worker and starts it with another schedule.
func (s *site) restart(ctx context.Context, sched schedule) error {
	if err := s.worker.Stop(time.Minute); err != nil {
		return err
	}
	return s.start(ctx, sched)
}

// close ends everything and removes the files.
func (s *site) close() error { return errors.Join(s.end(), os.RemoveAll(s.dir)) }

// end ends everything and leaves the files.
func (s *site) end() error {
	if s.worker != nil {
		s.worker.Kill()
	}
	if s.nc != nil {
		s.nc.Close()
	}
	var err error
	if s.gw != nil {
		err = s.gw.Close()
	}
	if s.server != nil {
		s.server.Stop()
	}
	return err
}

// publish publishes the requests with indices from (inclusive) to to (exclusive), and
// returns when the stream has them.
func (s *site) publish(ctx context.Context, r *requests, from, to int) error {
	subject := s.layout.Subjects().Request(producer, entrustbus.KindIssue)
	for i := from; i < to; i++ {
		body, err := r.body(i)
		if err != nil {
			return err
		}
		msg := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{
			nats.MsgIdHdr:                {entrustbus.RequestMsgID(producer, r.id(i), 0)},
			entrustbus.HeaderContentType: {entrustbus.EncodingMsgpack.ContentType()},
		}}
		if _, err := s.js.PublishMsgAsync(msg, jetstream.WithStallWait(time.Minute)); err != nil {
			return fmt.Errorf("publishing requests: %w", err)
		}
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.js.PublishAsyncComplete():
		return nil
	}
}

// through lets the worker handle the requests with indices from (inclusive) to to
// (exclusive). It returns how long they were in flight, from the first delivery to the
// last acknowledgement. The consumer is paused during publishing, so that the publisher
// takes no CPU from the worker.
func (s *site) through(ctx context.Context, r *requests, from, to int) (time.Duration, error) {
	if from == to {
		return 0, nil
	}
	if _, err := s.js.PauseConsumer(ctx, s.layout.Requests, streams.ConsumerIssue, time.Now().Add(time.Hour)); err != nil {
		return 0, fmt.Errorf("pausing the worker's consumer: %w", err)
	}
	if err := s.publish(ctx, r, from, to); err != nil {
		return 0, err
	}
	if _, err := s.js.ResumeConsumer(ctx, s.layout.Requests, streams.ConsumerIssue); err != nil {
		return 0, fmt.Errorf("resuming the worker's consumer: %w", err)
	}
	cons, err := s.js.Consumer(ctx, s.layout.Requests, streams.ConsumerIssue)
	if err != nil {
		return 0, err
	}
	// A pull from before the end of the pause may have to expire first.
	var begun time.Time
	err = s.until(ctx, 5*time.Millisecond, 10*time.Minute, "the worker has taken all requests", func() (bool, error) {
		info, err := cons.Info(ctx)
		if err != nil {
			return false, err
		}
		if begun.IsZero() && info.NumPending < uint64(to-from) {
			begun = time.Now()
		}
		return info.NumPending == 0 && info.NumAckPending == 0, nil
	})
	return time.Since(begun), err
}

// messages returns the number of messages in a stream.
func (s *site) messages(ctx context.Context, stream string) (int, error) {
	return oracle.Messages(ctx, s.js, stream)
}

// startServer starts nats-server in a process of its own, with its defaults.
func (p plan) startServer(dir string) (*testbed.Server, error) {
	return testbed.Run(testbed.Config{Dir: dir, Name: "bench", Process: true, Env: p.serverEnv()})
}

// killFor kills a server and restarts it after the pause.
func killFor(ctx context.Context, s *testbed.Server, pause time.Duration) error {
	s.Kill()
	if err := testbed.Sleep(ctx, pause); err != nil {
		return err
	}
	return s.Restart()
}

// until calls done at each interval until it returns true, at most for a time. It ignores
// errors: a server may be down on purpose.
func (s *site) until(ctx context.Context, every, within time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %v", within))
	defer cancel()
	return testbed.UntilEvery(ctx, every, what, done)
}
