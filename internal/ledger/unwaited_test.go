package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

func TestUnwaited(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t)
	js := server.JetStream(t)
	makeBucket(t, js)
	l := ledger.New(js, bucket)
	u, err := l.Unwaited()
	if err != nil {
		t.Fatal(err)
	}
	first := write(t, l, key, order.Stored{}, record(order.Submitting, "one"))

	// Stored: failed is not called.
	if !u.Send(l.Write(key, first, record(order.Closed, "one"), nil), func() { t.Error("a write that was stored failed") }) {
		t.Fatal("not sent")
	}
	until(t, "the record is closed", func() bool {
		s, err := l.Get(t.Context(), key)
		return err == nil && s.Phase == order.Closed
	})

	// Over a record that changed: failed is called, and a write that follows is refused too.
	failed := make(chan error, 1)
	stale := l.Write(key, first, record(order.Closed, "two"), nil)
	if !u.Send(stale, func() {
		_, err := stale.Try(context.Background())
		failed <- err
	}) {
		t.Fatal("not sent")
	}
	if err := u.Close(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case err := <-failed:
		if err == nil {
			t.Error("a record that changed was written over")
		}
	default:
		t.Error("Close did not wait for what was handed back")
	}
}

// A write that was stored, and whose acknowledgement was lost, is recognised by the write that
// follows it. The number of unacknowledged writes is bounded.
func TestUnwaitedLost(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t)
	js := server.JetStream(t)
	makeBucket(t, js)
	l := ledger.New(js, bucket)
	// Nothing listens there, as if the server's answers were lost.
	deaf, err := jetstream.NewWithAPIPrefix(server.Conn(t), "$JS.elsewhere.API")
	if err != nil {
		t.Fatal(err)
	}
	u, err := ledger.New(deaf, bucket).Unwaited()
	if err != nil {
		t.Fatal(err)
	}
	first := write(t, l, key, order.Stored{}, record(order.Submitting, "one"))
	w := l.Write(key, first, record(order.Closed, "one"), nil)
	if !u.Send(w, func() {}) {
		t.Fatal("not sent")
	}
	s, err := l.Write(key, first, record(order.Closed, "one"), w).Try(t.Context())
	if err != nil || s.Phase != order.Closed {
		t.Errorf("the write that follows found %s: %v", s.Phase, err)
	}
	if err := u.Close(t.Context()); err != nil {
		t.Error(err)
	}

	server.Stop() // from now on no write is acknowledged
	until(t, "the client knows", func() bool { return !js.Conn().IsConnected() })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	v, err := l.Unwaited()
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for sent < 10_000 && v.Send(l.Write(key, first, record(order.Closed, "one"), nil), func() {}) {
		sent++
	}
	if sent != 256 {
		t.Errorf("%d writes were sent without an acknowledgement, want 256", sent)
	}
	if err := v.Close(ended); err == nil {
		t.Error("Close says nothing of writes that may be lost")
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := testbed.Until(ctx, what, func() (bool, error) { return ok(), nil }); err != nil {
		t.Fatal(err)
	}
}
