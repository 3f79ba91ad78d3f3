package consumer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func repeated() *delivery {
	return &delivery{msg: message{m: nats.NewMsg("entrust.request.shop.issue")}, deliveries: ordinary + 1, stream: "S", sequence: 7, published: time.Unix(1, 0)}
}

// How long a poison message stops everything else grows with its age, from a moment to
// the longest call, and each time it rests for four times that.
func TestPoisonWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	p := newPoison(nil, 3*time.Second)
	if !p.running.TryAcquire(1) { // something else is in flight
		t.Fatal("nothing is in flight, and yet it is taken")
	}
	for _, row := range []struct{ age, rest time.Duration }{
		{0, 4 * shortest},
		{time.Hour, 4 * 3 * time.Second},
	} {
		var wait *laterError
		if err := p.acquire(t.Context(), try{parts: everything}, row.age); !errors.As(err, &wait) || wait.after != row.rest {
			t.Errorf("of age %s it ended as %v, want a rest of %s", row.age, err, row.rest)
		}
		if !p.running.TryAcquire(1) {
			t.Fatal("nothing else can be handled while it rests")
		}
		p.running.Release(1)
	}
}

// A reserved message goes on while one waits to run alone, and while that runs with others
// waiting behind it.
func TestReservedNeverWaits(t *testing.T) {
	t.Parallel()
	p := newPoison(nil, time.Minute)
	if !p.running.TryAcquire(1) {
		t.Fatal("nothing is in flight, and yet it is taken")
	}
	stop, cancel := context.WithCancel(t.Context())
	alone := make(chan error)
	go func() { alone <- p.acquire(stop, try{parts: everything}, time.Hour) }()
	for p.running.TryAcquire(1) { // until the other waits
		p.running.Release(1)
		time.Sleep(time.Millisecond)
	}
	at, end := context.WithTimeout(t.Context(), time.Second)
	defer end()
	if err := p.acquire(at, try{}, 0); err != nil {
		t.Errorf("a reserved message waits: %v", err)
	}
	p.end(try{})
	cancel()
	<-alone
}

// A panic before a message is handled ends that message's try, not the process.
func TestPanicBeforeHandling(t *testing.T) {
	t.Parallel()
	w := &Worker{log: slog.New(slog.DiscardHandler), throttle: new(throttling), poison: newPoison(nil, time.Minute)} // no server: a nil pointer
	l := &lane{name: "manage", handle: func(context.Context, *delivery) error { return nil }}
	if err := w.guard(t.Context(), t.Context(), l, repeated()); err == nil {
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
