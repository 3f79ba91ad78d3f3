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
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// deadly is a gateway whose answer to one revocation kills the worker that sent it. Its other
// answers take a moment.
type deadly struct {
	consumer.Gateway
	serial int64
	die    func()
}

func (g *deadly) Probe(context.Context) error { return nil }

func (g *deadly) CanFind() bool { return false }

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

// Of the messages in flight when a worker dies again and again, only the one that kills it ends
// as crashed. The test simulates a death by cutting the worker's connection for good: nothing
// that it does after that reaches the bus.
func TestCrashedIsTheOneThatKills(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	const poison, innocents = 9999, 6
	ids := map[string]int64{"poison": poison}
	for i := range int64(innocents) {
		ids[fmt.Sprint("innocent", i)] = 1000 + i
	}
	for id, serial := range ids {
		r.send(&entrustbus.Revoke{ID: id, SerialDecimal: fmt.Sprint(serial)}) // only body and record name the order
	}
	// Deliveries that are not counted yet, without a wait for each one.
	cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerRevoke)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		batch, err := cons.Fetch(len(ids), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		var inFlight []jetstream.Msg // all of them, so that each comes three times
		for m := range batch.Messages() {
			inFlight = append(inFlight, m)
		}
		if err := batch.Error(); err != nil || len(inFlight) != len(ids) {
			t.Fatalf("fetched %d messages, error %v", len(inFlight), err)
		}
		for _, m := range inFlight {
			if err := m.Nak(); err != nil {
				t.Fatal(err)
			}
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
		bucket := control.Open(control.Config{JS: js, Bucket: r.layout.Control, Worker: consumer.Name(), Gateway: r.sim.URL()})
		w, err := consumer.New(r.cfg, js, bucket, gw, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
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
	r.wantLetters(order.Crashed)
}

// A poison message that cannot run alone because of a long call delays no other message, and no
// revocation.
func TestPoisonLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.EnrollTimeout = time.Minute
	// The first message of the stream was delivered often, and killed a worker once.
	r.send(&entrustbus.Cancel{ID: "poison", Order: "long"})
	r.deliver(streams.ConsumerManage, 4)
	r.crashed(1, 1)
	cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerManage)
	if err != nil {
		t.Fatal(err)
	}
	poison, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
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
	if err := poison.Nak(); err != nil { // the worker's turn
		t.Fatal(err)
	}
	r.eventually("the poison message in flight", func() bool {
		info, err := cons.Info(t.Context())
		return err == nil && info.Delivered.Consumer >= 6
	})
	r.send(&entrustbus.Revoke{ID: "r", SerialDecimal: "1"})
	r.result("r")
	// When no other message is in flight, it has its turn.
	close(answer)
	r.result("poison")
}

// A message that crashed workers, with the message id of a parked order, ends as a dead letter
// and leaves that order alone.
func TestCrashedUnderAnotherOrdersID(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: 2 * time.Second})
	r.park("o")
	r.publish(entrustbus.KindIssue, []byte("\xc1 poison"), entrustbus.HeaderOrderID, "o")
	r.deliver(streams.ConsumerIssue, 4)
	r.crashed(2, 3)
	r.run()
	l := r.wantLetters(order.Crashed)[0]
	if string(l.Request.Body) != "\xc1 poison" || l.Key.ID != "o" {
		t.Errorf("the letter is %+v", l)
	}
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("the parked order ended as %+v (error %+v)", res, res.Error)
	}
	r.quiet()
}

// A request that kills every worker that tries it ends as a dead letter. Its deliveries show
// that before a further try. The test simulates deaths by naks that leave the count.
func TestCrashed(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.send(&entrustbus.Issue{ID: "poison", CSRPEM: csr(t, "poison")}, entrustbus.HeaderOrderID, "poison")
	r.deliver(streams.ConsumerIssue, 4)
	r.crashed(1, 3)
	r.run()
	if res := r.result("poison"); res.Outcome != entrustbus.OutcomeFailed || res.Error.Code != "crashed" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(order.Crashed)
	r.quiet()
	if n := r.enrolled(); n != 0 {
		t.Errorf("%d enrollments of a request that must not be tried", n)
	}
	// A worker that it does not crash handles the operator's replay.
	letter := r.letters()[0]
	r.publish(entrustbus.KindIssue, letter.Request.Body, entrustbus.HeaderContentType, "application/msgpack",
		nats.MsgIdHdr, entrustbus.ResultMsgID(producer, "poison", 1), entrustbus.HeaderReplay, "1")
	if res := r.result("poison", 1); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
}

// Deliveries alone make no poison message: a message that came back often, each time without a
// crash, is handled.
func TestManyDeliveriesAreNoCrash(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.send(&entrustbus.Issue{ID: "often", CSRPEM: csr(t, "often")})
	r.deliver(streams.ConsumerIssue, 20)
	r.run()
	if res := r.result("often"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}
