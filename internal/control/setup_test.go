package control

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

const bucket = "ENTRUST_CONTROL"

// provision makes the bucket with the worker's default layout.
func provision(t *testing.T, js jetstream.JetStream) jetstream.KeyValue {
	t.Helper()
	layout := streams.DefaultLayout()
	layout.RequestsMaxBytes = 1 << 20
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// newBus starts a server with a control bucket.
func newBus(t *testing.T) (*testbed.Server, jetstream.KeyValue) {
	t.Helper()
	s := testbed.Start(t)
	return s, provision(t, s.JetStream(t))
}

func worker(js jetstream.JetStream, id string) *Bucket {
	return Open(Config{JS: js, Bucket: bucket, Worker: id, Gateway: "https://gateway.example/cagw", Log: slog.New(slog.DiscardHandler)})
}

// run runs b until the test ends or stop is called.
func run(t *testing.T, b *Bucket, h Handlers) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { b.Run(ctx, h) })
	stop = func() { cancel(); done.Wait() }
	t.Cleanup(stop)
	return stop
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// put writes a value like an operator or a broken worker.
func put(t *testing.T, kv jetstream.KeyValue, key, value string) {
	t.Helper()
	if _, err := kv.PutString(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// news records the calls of handlers.
type news struct {
	mu     sync.Mutex
	left   time.Duration
	ended  int
	synced int
	opened map[string]string // opening by operation and CA
	closed map[string]string
}

func (n *news) handlers() Handlers {
	n.opened, n.closed = map[string]string{}, map[string]string{}
	return Handlers{
		Paused:     func(left time.Duration) { n.set(func() { n.left = left }) },
		PauseEnded: func() { n.set(func() { n.ended++ }) },
		Synced:     func() { n.set(func() { n.synced++ }) },
		BreakerOpened: func(operation, ca, opening, _ string, _ time.Duration) {
			n.set(func() { n.opened[operation+" "+ca] = opening })
		},
		BreakerClosed: func(operation, ca, opening string) {
			n.set(func() { n.closed[operation+" "+ca] = opening })
		},
	}
}

func (n *news) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *news) has(ok func() bool) func() bool {
	return func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return ok()
	}
}
