package streams_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// When a stream has no leader, no server answers a request. Without a deadline in ctx, Last
// must still return an error: nothing else would end the wait.
func TestLastEndsWithoutAnswer(t *testing.T) {
	t.Parallel()
	nc := testbed.Start(t).Conn(t)
	if _, err := nc.Subscribe("$JS.leaderless.API.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.NewWithDomain(nc, "leaderless", jetstream.WithDefaultTimeout(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := streams.Last(context.Background(), js, "KV_ORDERS", "$KV.ORDERS.shop.one")
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("reading without a leader: %v, want a deadline exceeded", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("reading without a leader never ended")
	}
}
