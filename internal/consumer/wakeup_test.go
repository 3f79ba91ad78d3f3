package consumer_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// A worker that died between closing an order and cancelling its wake-up left that wake-up. A
// replay whose worker dies before it schedules its own must not treat it as its own.
func TestWakeupOfAClosedGeneration(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	key := r.park("o")
	rec := r.record("o")
	request, tracking := rec.Request, rec.TrackingID
	next := rec.Record
	next.Generation = 1
	r.write("o", next)
	if err := r.sim.Approve(tracking); err != nil {
		t.Fatal(err)
	}
	r.cfg.Schedule.First = 100 * time.Millisecond
	r.run()
	r.publish(entrustbus.KindIssue, request.Body, nats.MsgIdHdr, key.String()+".1", entrustbus.HeaderReplay, "1",
		entrustbus.HeaderContentType, request.Get(entrustbus.HeaderContentType))
	if res := r.result("o", 1); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.quiet()
}

// A ledger that was lost is restored from the wake-ups.
func TestWakeupRestoresLedger(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	r.cfg.Schedule.First = 3 * time.Second
	r.cfg.Schedule.Max = 3 * time.Second
	r.park("o")
	r.loseLedger()
	r.run()
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued || r.enrolled() != 1 {
		t.Errorf("result is %+v (error %+v), %d enrollments", res, res.Error, r.enrolled())
	}
	r.quiet()
}

// A due message after the end makes no call, however often it comes.
func TestStaleWakeups(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	res := r.result("o")
	r.quiet()
	for range 3 {
		r.wake(&order.Wakeup{
			Key: order.Key{Producer: producer, ID: "o"}, Kind: entrustbus.KindIssue, Lane: order.LanePoll, Deadline: time.Now(),
			TrackingID: res.TrackingID, Request: &order.Message{Subject: r.layout.Subjects().Request(producer, entrustbus.KindIssue)},
		})
		r.quiet()
	}
	poll, err := r.sim.PollsOf(res.TrackingID)
	if err != nil {
		t.Fatal(err)
	}
	if poll.AfterEnd != 0 {
		t.Errorf("%d polls after the end", poll.AfterEnd)
	}
	if n := r.count(r.layout.Results); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

// A worker that died between result and close left a wake-up and a waiting record: the next
// worker closes the order without a call.
func TestWakeupAfterTheResult(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	key := r.park("o")
	rec := r.record("o")
	body, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, &entrustbus.Result{
		ID: "o", Producer: producer, Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeRejected, TrackingID: rec.TrackingID,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.js.Publish(t.Context(), r.layout.Subjects().Result(producer, "o"), body); err != nil {
		t.Fatal(err)
	}
	r.wake(r.wakeupOf(key))
	cons, err := r.js.Consumer(t.Context(), r.layout.Parked, streams.ConsumerPoll)
	if err != nil {
		t.Fatal(err)
	}
	first, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Nak(); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.quiet()
	if poll, err := r.sim.PollsOf(rec.TrackingID); err != nil || poll.Count != 0 {
		t.Errorf("%d polls, %v; want none", poll.Count, err)
	}
	if rec := r.closed("o"); rec.Outcome != entrustbus.OutcomeRejected {
		t.Errorf("the record became %+v", rec)
	}
	if n := r.count(r.layout.Results); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

// A due message of an earlier generation polls nothing. It gives the generation in force the
// wake-up that it may have replaced.
func TestWakeupOfAnEarlierGeneration(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	key := r.park("o")
	next := r.record("o").Record
	next.Generation = 1
	r.write("o", next)
	r.wake(r.wakeupOf(key)) // of generation 0
	r.run()
	r.eventually("the wake-up of generation 1", func() bool {
		w, _, err := wakeup.New(r.js, r.layout.Parked, r.layout.Subjects()).Find(t.Context(), key)
		return err == nil && w != nil && w.Generation == 1
	})
	if poll, err := r.sim.PollsOf(next.TrackingID); err != nil || poll.Count != 0 {
		t.Errorf("%d polls, %v; want none", poll.Count, err)
	}
	if rec := r.record("o"); rec.Phase != order.Awaiting || rec.Generation != 1 {
		t.Errorf("the order in force became %+v", rec)
	}
}

// Two due messages of one order, after a lost ack: both poll and both schedule, and the result
// is one wake-up.
func TestTwoDueMessagesMeetInOneWakeup(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	key := r.park("o")
	w := r.wakeupOf(key)
	store := wakeup.New(r.js, r.layout.Parked, r.layout.Subjects())
	fired := func() (n int) {
		for f, err := range store.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if f.Fired {
				n++
			}
		}
		return n
	}
	for i := range 2 {
		r.wake(w)
		r.eventually("a due message", func() bool { return fired() == i+1 })
	}
	r.run()
	r.eventually("both handled", func() bool { return fired() == 0 })
	poll, err := r.sim.PollsOf(w.TrackingID)
	if err != nil || poll.Count < 2 {
		t.Errorf("%d polls, %v; want one of each", poll.Count, err)
	}
	if n := r.count(r.layout.Parked); n != 1 {
		t.Fatalf("%d wake-ups, want 1", n)
	}
	if err := r.sim.Approve(w.TrackingID); err != nil {
		t.Fatal(err)
	}
	r.wake(w)
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.quiet()
	if n := r.count(r.layout.Results); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

// A producer that publishes its request again and again does not delay the next poll.
func TestRequestAgainKeepsTheWakeup(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	key := r.park("o")
	before, request := r.wakeupOf(key), r.record("o").Request
	stop := r.run()
	r.publish(entrustbus.KindIssue, request.Body, entrustbus.HeaderContentType, request.Get(entrustbus.HeaderContentType))
	r.eventually("no request left", func() bool { return r.count(r.layout.Requests) == 0 })
	stop()
	if after := r.wakeupOf(key); !after.Due.Equal(before.Due) {
		t.Errorf("the wake-up was due at %s, and is at %s", before.Due, after.Due)
	}
}
