package contract

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// far is a JetStream API whose requests pass through the test.
type far struct {
	silent atomic.Bool  // no request is answered, as by a server that crashes before its answer
	asked  atomic.Int64 // number of requests
}

// newFar returns a far and a client that uses it. Published requests do not pass through
// it.
func newFar(t *testing.T, server *testbed.Server) (*far, *entrustbus.Client) {
	t.Helper()
	f := &far{}
	relay := server.Conn(t)
	_, err := relay.Subscribe("far.API.>", func(msg *nats.Msg) {
		silent := f.silent.Load()
		f.asked.Add(1)
		if !silent {
			_ = relay.PublishRequest("$JS.API."+strings.TrimPrefix(msg.Subject, "far.API."), msg.Reply, msg.Data)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.Flush(); err != nil {
		t.Fatal(err)
	}
	nc := server.Conn(t)
	js, err := jetstream.NewWithAPIPrefix(nc, "far.API")
	if err != nil {
		t.Fatal(err)
	}
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop", JetStream: js})
	if err != nil {
		t.Fatal(err)
	}
	return f, client
}

// A look-up without an answer does not delay others: each ends with its own context.
func TestLookupsDoNotQueue(t *testing.T) {
	t.Parallel()
	f, client := newFar(t, testbed.Start(t))
	f.silent.Store(true)
	patient, end := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(patient, time.Hour)
		defer cancel()
		_, err := client.Lookup(ctx, "a")
		first <- err
	}()
	until(t, "the first look-up is under way", func() bool { return f.asked.Load() == 1 })

	cancelled, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		_, err := client.Lookup(cancelled, "b")
		second <- err
	}()
	until(t, "the second one as well", func() bool { return f.asked.Load() == 2 })
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	end()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first one: got %v, want its context's error", err)
	}
}

// A server that crashes during a look of Wait never answers it. Wait looks again, however
// long the caller's deadline is.
func TestWaitOutlivesALook(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	f, client := newFar(t, b.server)
	b.client = client
	if _, err := client.Lookup(t.Context(), "a"); !errors.Is(err, entrustbus.ErrNoResult) { // the stream is known from here on
		t.Fatal(err)
	}
	before := f.asked.Load()
	f.silent.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	waiting := b.wait(ctx, "a")
	until(t, "a look is under way", func() bool { return f.asked.Load() == before+1 })
	f.silent.Store(false)
	b.finish(t, "a", 0, entrustbus.EncodingMsgpack)
	until(t, "a second look", func() bool { return f.asked.Load() > before+1 })
	if a := <-waiting; a.err != nil || a.result.ID != "a" {
		t.Errorf("got %+v, %v", a.result, a.err)
	}
}

// While a stream has no leader, its requests get no answer.
func TestSubmitOutlivesAnElection(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t)
	nc := server.Conn(t)
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	submitted := make(chan error, 1)
	go func() {
		_, err := client.Submit(ctx, &entrustbus.Cancel{ID: "a", Order: "b"})
		submitted <- err
	}()
	// The library itself tries three times.
	until(t, "the fourth try", func() bool { return nc.Stats().OutMsgs >= 4 })
	_, err = server.JetStream(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: "R", Subjects: []string{"entrust.request.*.cancel"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-submitted; err != nil {
		t.Errorf("got %v", err)
	}
}
