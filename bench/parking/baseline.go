package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// The two other ways to wait. Each is a client in a process of its own (see holder.go).
const (
	sleeping = "sleep" // a goroutine for each order, as a blocking poll loop has
	naking   = "nak"   // NakWithDelay, the order staying unacknowledged
)

// Stream and consumer of a baseline.
const (
	baselineStream   = "HELD"
	baselineConsumer = "holder"
)

// baseline is the result of one other way.
type baseline struct {
	way           string
	orders        int
	killed        bool
	holding       time.Duration // until the client held all
	before, after testbed.Usage // of the client
	server        testbed.Usage
	cpu           float64 // server's share of one core while nothing is due
	goroutines    [2]int  // before and after
	end           status
}

// status is the report of a baseline's process.
type status struct {
	Held, Done, Early    int
	Goroutines           int
	P50, P99, Max, Worst time.Duration // lateness, and the worst earliness
}

// measureBaseline runs one other way with the same requests.
func (p plan) measureBaseline(ctx context.Context, dir, way string, hold *requests, n int, say func(string, ...any)) (_ *baseline, err error) {
	r := &baseline{way: way, orders: n, killed: p.kill}
	server, err := p.startServer(filepath.Join(dir, "nats"))
	if err != nil {
		return nil, err
	}
	defer func() {
		server.Stop()
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	nc, err := server.Connect()
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2048))
	if err != nil {
		return nil, err
	}
	if err := makeBaselineStream(ctx, js, way, n); err != nil {
		return nil, err
	}
	h, err := startHolder(way, server.URL)
	if err != nil {
		return nil, err
	}
	defer h.Kill()
	if err := testbed.Sleep(ctx, p.settle); err != nil {
		return nil, err
	}
	begins, err := p.fill(ctx, js, r, h, server, hold, say)
	if err != nil {
		return nil, err
	}
	if p.kill {
		if err := testbed.Sleep(ctx, time.Until(begins.Add(p.window/2))); err != nil {
			return nil, err
		}
		say("killing nats-server")
		if err := killFor(ctx, server, 2*time.Second); err != nil {
			return nil, err
		}
	}
	if err := testbed.Sleep(ctx, time.Until(begins.Add(p.window))); err != nil {
		return nil, err
	}
	for end := time.Now().Add(baselineAckWait + p.window); ; {
		if r.end, err = h.ask(); err != nil || r.end.Done >= n || time.Now().After(end) {
			return r, err
		}
		if err := testbed.Sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

// fill publishes the requests, waits until the client holds all, and reads the usage. It
// returns when the first order is due.
func (p plan) fill(ctx context.Context, js jetstream.JetStream, r *baseline, h *holder, server *testbed.Server, hold *requests, say func(string, ...any)) (time.Time, error) {
	first, err := h.ask()
	if err != nil {
		return time.Time{}, err
	}
	if r.before, err = h.Usage(); err != nil {
		return time.Time{}, err
	}
	begun := time.Now()
	begins := begun.Add(p.settle + p.idle + 10*time.Second + time.Duration(r.orders)*time.Second/4000)
	say("%s: %d orders, due within %v", r.way, r.orders, p.window)
	draw := rand.New(rand.NewPCG(1, uint64(r.orders)))
	for i := range r.orders {
		body, err := hold.body(i)
		if err != nil {
			return begins, err
		}
		due := begins.Add(time.Duration(draw.Float64() * float64(p.window)))
		msg := &nats.Msg{Subject: "held." + hold.id(i), Data: body, Header: nats.Header{headerDue: {due.UTC().Format(time.RFC3339Nano)}}}
		if _, err := js.PublishMsgAsync(msg, jetstream.WithStallWait(time.Minute)); err != nil {
			return begins, err
		}
	}
	last := first
	for last.Held < r.orders {
		if err := testbed.Sleep(ctx, 20*time.Millisecond); err != nil {
			return begins, err
		}
		if last, err = h.ask(); err != nil {
			return begins, err
		}
		if time.Now().After(begins) {
			return begins, fmt.Errorf("%s: only %d of %d orders were held in time", r.way, last.Held, r.orders)
		}
	}
	r.holding = time.Since(begun)
	if err := testbed.Sleep(ctx, p.settle); err != nil {
		return begins, err
	}
	idle, err := server.Usage()
	if err != nil {
		return begins, err
	}
	if err := testbed.Sleep(ctx, p.idle); err != nil {
		return begins, err
	}
	if r.after, err = h.Usage(); err != nil {
		return begins, err
	}
	if r.server, err = server.Usage(); err != nil {
		return begins, err
	}
	r.cpu = (r.server.CPU - idle.CPU).Seconds() / p.idle.Seconds()
	last, err = h.ask()
	r.goroutines = [2]int{first.Goroutines, last.Goroutines}
	return begins, err
}

// baselineAckWait is the ack wait of NakWithDelay's consumer, equal to the worker's
// default.
const baselineAckWait = time.Minute

func makeBaselineStream(ctx context.Context, js jetstream.JetStream, way string, n int) error {
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: baselineStream, Subjects: []string{"held.*"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return err
	}
	wait := baselineAckWait
	if way == sleeping {
		wait = 24 * time.Hour // a sleeping handler does not extend its ack wait
	}
	_, err = js.CreateConsumer(ctx, baselineStream, jetstream.ConsumerConfig{
		Durable: baselineConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: wait, MaxDeliver: -1, MaxAckPending: n + 1000,
	})
	return err
}

// holder is the process of a baseline.
type holder struct {
	*testbed.Process
	in  io.WriteCloser
	out *json.Decoder
}

func startHolder(way, url string) (*holder, error) {
	p, in, out, err := testbed.SpawnSelf("hold", way, url)
	if err != nil {
		return nil, err
	}
	return &holder{Process: p, in: in, out: json.NewDecoder(out)}, nil
}

// ask asks the process for its status.
func (h *holder) ask() (status, error) {
	var s status
	if _, err := h.in.Write([]byte("?\n")); err != nil {
		return s, fmt.Errorf("asking process %d: %w", h.PID(), err)
	}
	return s, h.out.Decode(&s)
}
