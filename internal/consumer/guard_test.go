package consumer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

func suspicious() *delivery {
	return &delivery{msg: message{m: nats.NewMsg("entrust.request.shop.issue")}, deliveries: trusted + 1, stream: "S", sequence: 7}
}

// A message that only waits for the gateway is not counted as tried: the worker may
// die of something else meanwhile.
func TestSuspectWaitsAtTheGateFirst(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "CONTROL", LimitMarkerTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancelCause(t.Context())
	w := &Worker{log: slog.New(slog.DiscardHandler), suspects: newSuspects(js, "CONTROL", time.Minute), gate: openGate(stop, t, 0)}
	w.gate.report(&gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 401})
	tried := false
	l := &lane{name: "issue", gated: true, handle: func(context.Context, *delivery) error { tried = true; return nil }}
	done := make(chan error)
	go func() { done <- w.guard(stop, t.Context(), l, suspicious()) }()
	cancel(errStopping)
	if err := <-done; !errors.Is(err, errStopping) || tried {
		t.Errorf("it ended as %v, tried: %v", err, tried)
	}
	if _, err := kv.Get(t.Context(), w.suspects.key(suspicious())); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("it was counted: %v", err)
	}
}

// How long a suspect stops everything else grows with its age, from a moment to the
// longest call, and each time it rests for four times that.
func TestSuspectWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	s := newSuspects(nil, "", 3*time.Second)
	if !s.hand.TryAcquire(1) { // something else is in hand
		t.Fatal("nothing is in hand, and yet it is taken")
	}
	for _, row := range []struct{ age, rest time.Duration }{
		{0, 4 * shortest},
		{time.Hour, 4 * 3 * time.Second},
	} {
		d := suspicious()
		d.parts = everything
		var wait *laterError
		if err := s.acquire(t.Context(), d, time.Now().Add(-row.age)); !errors.As(err, &wait) || wait.after != row.rest {
			t.Errorf("of age %s it ended as %v, want a rest of %s", row.age, err, row.rest)
		}
		if !s.hand.TryAcquire(1) {
			t.Fatal("nothing else can be taken up while it rests")
		}
		s.hand.Release(1)
	}
}

// A panic before a message is handled ends that message's try, not the process.
func TestPanicBeforeHandling(t *testing.T) {
	t.Parallel()
	w := &Worker{log: slog.New(slog.DiscardHandler), suspects: newSuspects(nil, "", time.Minute)} // no server: a nil pointer
	l := &lane{name: "order", handle: func(context.Context, *delivery) error { return nil }}
	if err := w.guard(t.Context(), t.Context(), l, suspicious()); err == nil {
		t.Error("a panic ended as if nothing had happened")
	}
}

// Messages that came before a pull ended are taken, whatever ended it: the server
// would give them to nobody until their ack wait is over.
func TestPullTakesWhatHasCome(t *testing.T) {
	t.Parallel()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, end := range map[string]struct {
		ctx  context.Context
		over <-chan time.Time
	}{
		"time is over": {t.Context(), func() <-chan time.Time { c := make(chan time.Time); close(c); return c }()},
		"drain":        {gone, nil},
	} {
		const n = 64
		come := make(chan *nats.Msg, n+1)
		for range n {
			come <- &nats.Msg{Reply: "$JS.ACK"}
		}
		come <- &nats.Msg{} // the server's word
		taken := 0
		take := func(*nats.Msg) error { taken++; return nil }
		if err := errors.Join(receive(end.ctx, come, end.over, n, take), rest(come, take)); err != nil || taken != n {
			t.Errorf("%s: %d messages of %d were taken (%v)", name, taken, n, err)
		}
	}
}
