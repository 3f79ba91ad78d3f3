package consumer_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// deadly is a gateway whose answer to one revocation is the death of the worker
// that sent it; the others take a moment.
type deadly struct {
	consumer.Gateway
	serial int64
	die    func()
}

func (g *deadly) Probe(context.Context) error { return nil }

func (g *deadly) Revoke(ctx context.Context, r gateway.Revocation) error {
	if r.Serial.Cmp(big.NewInt(g.serial)) == 0 {
		g.die()
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

// Of the messages that a worker holds when it dies, again and again, only the one
// that it dies of ends as crashed. A death is played by cutting the worker's
// connection for good: nothing that it does from then on is heard.
func TestCrashedIsTheOneThatKills(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	const poison, innocents = 9999, 6
	ids := map[string]int64{"poison": poison}
	for i := range int64(innocents) {
		ids[fmt.Sprint("innocent", i)] = 1000 + i
	}
	for id, serial := range ids {
		r.send(&entrustbus.Revoke{ID: id, SerialDecimal: fmt.Sprint(serial)})
	}
	// Deliveries that are not counted yet, without a wait for each.
	cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerRevoke)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * len(ids) {
		m, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Nak(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	t.Cleanup(func() { stop(); workers.Wait() })
	r.cfg.Drain = 100 * time.Millisecond
	var start func()
	start = func() {
		js := r.server.JetStream(t)
		gw := &deadly{serial: poison, die: sync.OnceFunc(func() {
			js.Conn().Close()
			workers.Go(func() {
				if ctx.Err() == nil {
					start()
				}
			})
		})}
		w, err := consumer.New(r.cfg, js, gw, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
		if err != nil {
			t.Error(err)
			return
		}
		workers.Go(func() { _ = w.Run(ctx) })
	}
	start()
	for id := range ids {
		want := entrustbus.OutcomeRevoked
		if id == "poison" {
			want = entrustbus.OutcomeFailed
		}
		if res := r.result(id); res.Outcome != want {
			t.Errorf("%s ended as %s (error %+v), want %s", id, res.Outcome, res.Error, want)
		}
	}
	r.wantLetters(deadletter.Crashed)
}

// A message that may have killed a worker, and cannot be tried alone for a long call,
// keeps nothing else from being taken up.
func TestSuspectLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.EnrollTimeout = time.Minute
	kv, err := r.js.KeyValue(t.Context(), r.layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	// The first message of the stream has come often, and killed a worker once.
	r.send(&entrustbus.Cancel{ID: "suspect", Order: "long"})
	r.deliver(streams.ConsumerOrder, 4)
	if _, err := kv.PutString(t.Context(), "suspect."+r.layout.Requests+".1", "1"); err != nil {
		t.Fatal(err)
	}
	cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerOrder)
	if err != nil {
		t.Fatal(err)
	}
	suspect, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	calling, answer := make(chan struct{}), make(chan struct{})
	r.runWith(&enroller{
		enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
			close(calling)
			<-answer
			return gateway.Answer{State: gateway.Pending, TrackingID: "T-1", HTTPStatus: 202}, nil
		},
		revoke: func() error { return nil },
	})
	r.send(&entrustbus.Issue{ID: "long", CSRPEM: csr(t, "long")})
	<-calling
	if err := suspect.Nak(); err != nil { // the worker's turn
		t.Fatal(err)
	}
	r.eventually("the suspect in the worker's hand", func() bool {
		info, err := cons.Info(t.Context())
		return err == nil && info.Delivered.Consumer >= 6
	})
	r.send(&entrustbus.Revoke{ID: "r", SerialDecimal: "1"})
	r.result("r")
	// When nothing else is in hand it has its turn.
	close(answer)
	r.result("suspect")
}

// A message that workers died of, under the message id of an order that is parked,
// ends as a dead letter and leaves that order alone.
func TestCrashedUnderAnotherOrdersID(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: 2 * time.Second})
	r.park("o")
	r.publish(entrustbus.KindIssue, []byte("\xc1 lethal"), nats.MsgIdHdr, producer+".o.other")
	r.deliver(streams.ConsumerIssue, 4)
	kv, err := r.js.KeyValue(t.Context(), r.layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "suspect."+r.layout.Requests+".2", "3"); err != nil {
		t.Fatal(err)
	}
	r.run()
	l := r.wantLetters(deadletter.Crashed)[0]
	if string(l.Request.Body) != "\xc1 lethal" || l.Key.ID != "o" {
		t.Errorf("the letter is %+v", l)
	}
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("the parked order ended as %+v (error %+v)", res, res.Error)
	}
	r.quiet()
}
