package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// newFreezable starts a server that can be frozen, with a control bucket.
func newFreezable(t *testing.T) (*testbed.Server, jetstream.JetStream) {
	t.Helper()
	s := testbed.StartProcess(t)
	js := s.JetStream(t)
	provision(t, js)
	return s, js
}

func TestBeats(t *testing.T) {
	t.Parallel()
	t0 := time.Now()
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	p := beats{}
	p.saw("a", 1, jetstream.KeyValuePut, at(0))
	p.saw("b", 2, jetstream.KeyValuePut, at(0))
	for _, step := range []struct {
		name string
		do   func()
		at   int
		want int
	}{
		{"both", func() {}, 0, 2},
		{"b repeats a revision, which is no sign of life", func() { p.saw("a", 3, jetstream.KeyValuePut, at(14)); p.saw("b", 2, jetstream.KeyValuePut, at(14)) }, 14, 2},
		{"b is silent for 15 s", func() {}, 15, 1},
		{"b is back", func() { p.saw("b", 4, jetstream.KeyValuePut, at(16)) }, 16, 2},
		{"the bucket was away", func() { p.refresh(at(100)) }, 100, 2},
		{"b expires", func() { p.saw("b", 5, jetstream.KeyValuePurge, at(101)) }, 101, 2},
		{"b leaves", func() { p.saw("b", 5, jetstream.KeyValueDelete, at(101)) }, 101, 1},
		{"nobody", func() {}, 1000, 1}, // this worker lives
	} {
		step.do()
		if got := p.live(at(step.at)); got != step.want {
			t.Errorf("%s: %d live workers, want %d", step.name, got, step.want)
		}
	}
}

// Workers count each other, and notice at once when one leaves. Host names with dots
// count too.
func TestWorkersComeAndLeave(t *testing.T) {
	t.Parallel()
	server, kv := newBus(t)
	a, b := worker(server.JetStream(t), "host-1.example.org-x1"), worker(server.JetStream(t), "host-2-x2")
	run(t, a, Handlers{})
	stop := run(t, b, Handlers{})
	eventually(t, "two workers at both", func() bool { return a.Workers() == 2 && b.Workers() == 2 })
	if skew, within, ok := a.Clock().Skew(); !ok || skew.Abs() > within+time.Second {
		t.Errorf("the skew to a server on this host is %s ± %s (%v)", skew, within, ok)
	}
	stop()
	eventually(t, "one worker", func() bool { return a.Workers() == 1 })
	if _, err := kv.Get(t.Context(), workerPrefix+"host-2-x2"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the presence of a worker that left: %v", err)
	}
}

// A bucket that is deleted and made again is watched again, and all later writes work.
func TestBucketDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	server, _ := newBus(t)
	js := server.JetStream(t)
	a, b := worker(server.JetStream(t), "a"), worker(server.JetStream(t), "b")
	var seen news
	run(t, a, Handlers{})
	run(t, b, seen.handlers())
	eventually(t, "two workers", func() bool { return a.Workers() == 2 && b.Workers() == 2 })
	must(t, a.Pause(t.Context(), time.Minute))
	eventually(t, "the pause", seen.has(func() bool { return seen.left > 0 && seen.synced == 1 }))

	must(t, js.DeleteKeyValue(t.Context(), bucket))
	kv := provision(t, js)
	eventually(t, "a new watch", seen.has(func() bool { return seen.synced > 1 }))
	for _, id := range []string{"a", "b"} {
		eventually(t, "the presence of "+id, func() bool {
			_, err := kv.Get(t.Context(), workerPrefix+id)
			return err == nil
		})
	}
	if seen.has(func() bool { return seen.ended > 0 })() {
		t.Error("the loss of the bucket ended a pause")
	}
	must(t, a.Pause(t.Context(), 30*time.Minute))
	eventually(t, "a pause in the new bucket", seen.has(func() bool { return seen.left > 29*time.Minute }))
	if a.Workers() != 2 || b.Workers() != 2 {
		t.Errorf("%d and %d live workers", a.Workers(), b.Workers())
	}
}

// A worker at a leaf node reaches the hub's bucket, although the leaf denies it every
// bare subject of keys.
func TestBucketInAnotherDomain(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	leaves := listener.Addr().String()
	listener.Close()
	domain := func(name string) string {
		return fmt.Sprintf("jetstream { store_dir: %q, domain: %s }", t.TempDir(), name)
	}
	hub := testbed.Start(t, domain("hub"), fmt.Sprintf("leafnodes { listen: %q }", leaves))
	leaf := testbed.Start(t, domain("leaf"), fmt.Sprintf("leafnodes { remotes: [ { url: \"nats://%s\", deny_exports: [\"$KV.>\"] } ] }", leaves))
	provision(t, hub.JetStream(t))
	js, err := jetstream.NewWithDomain(leaf.Conn(t), "hub")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for err = errors.New("not joined"); err != nil && ctx.Err() == nil; {
		_, err = js.KeyValue(ctx, bucket) // until the leaf has joined
	}
	must(t, err)

	a, b := worker(js, "leaf"), worker(hub.JetStream(t), "hub")
	var seen news
	run(t, a, seen.handlers())
	run(t, b, Handlers{})
	eventually(t, "both workers at both", func() bool { return a.Workers() == 2 && b.Workers() == 2 })
	must(t, a.Pause(ctx, time.Minute))
	eventually(t, "the pause through the watch", seen.has(func() bool { return seen.left > 0 }))
	wantLease(t, a.WatchdogLease(), time.Hour, true)
	wantLease(t, b.WatchdogLease(), time.Hour, false)
	must(t, a.WatchdogLease().Release(ctx))
	opening, _, err := a.OpenBreaker(ctx, "enroll", "ca-1", doublings, "500")
	must(t, err)
	must(t, b.CloseBreaker(ctx, "enroll", "ca-1", opening))
	if n, err := a.CountTry(ctx, Message{Stream: "S", Sequence: 1}); n != 1 || err != nil {
		t.Errorf("counting: %d, %v", n, err)
	}
	must(t, a.ClearTries(ctx, Message{Stream: "S", Sequence: 1}))
}
