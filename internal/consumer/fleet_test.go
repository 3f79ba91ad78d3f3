package consumer_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// worker makes a worker that is not run, to call its steps.
func (r *rig) worker() *consumer.Worker {
	r.t.Helper()
	hc, err := r.sim.Client()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(hc.CloseIdleConnections)
	gw, err := gateway.New(r.gwcfg, &http.Client{Transport: hc.Transport}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		r.t.Fatal(err)
	}
	w, err := consumer.New(r.cfg, r.js, gw, slog.New(slog.NewTextHandler(r.log, nil)))
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

// park publishes an order, waits until it is parked, and stops its worker.
func (r *rig) park(id string) ledger.Key {
	r.t.Helper()
	stop := r.run()
	r.send(&entrustbus.Issue{ID: id, CSRPEM: csr(r.t, id)})
	key := ledger.Key{Producer: producer, ID: id}
	l := ledger.New(r.js, r.layout.Orders)
	r.eventually("the order parked", func() bool {
		rec, err := l.Get(r.t.Context(), key)
		return err == nil && rec.State == ledger.Parked && r.count(r.layout.Requests) == 0
	})
	stop()
	return key
}

// A slot that somebody removed: the ledger has the whole order, and the
// watchdog arms it again.
func TestWatchdogRevivesLostSlots(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	r.cfg.Schedule.First, r.cfg.Schedule.Max, r.cfg.MaxWait = time.Hour, 2*time.Hour, 24*time.Hour
	r.cfg.Schedule.RetryAfterMax = 0
	key := r.park("lost")
	lot := parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	if err := lot.Disarm(t.Context(), key, 0); err != nil {
		t.Fatal(err)
	}
	w := r.worker()
	if got, err := w.Watch(t.Context()); err != nil || got != (consumer.Repairs{}) {
		t.Fatalf("a record just written counts as lost: %+v, %v", got, err)
	}
	age(t, r, key, 2*time.Minute)
	kv, err := r.js.KeyValue(t.Context(), r.layout.Orders)
	if err != nil {
		t.Fatal(err)
	}
	for _, alien := range []string{"alien", "shop.alien"} { // must not keep the lost order from being found
		if _, err := kv.PutString(t.Context(), alien, "no record"); err != nil {
			t.Fatal(err)
		}
	}
	r.cfg.Schedule.First = 100 * time.Millisecond // of the worker that looks
	if got, err := r.worker().Watch(t.Context()); err != nil || got != (consumer.Repairs{Lost: 1}) {
		t.Fatalf("the watchdog repaired %+v, %v; want one lost slot", got, err)
	}
	if got, err := w.Watch(t.Context()); err != nil || got != (consumer.Repairs{}) {
		t.Fatalf("a second look repaired %+v, %v", got, err)
	}
	r.run()
	if res := r.result("lost"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// A wake-up that the server keeps and will never deliver hides no lost slot: it is
// removed, and the order woken up again.
func TestWatchdogSeesThroughDeadWakeUps(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	r.cfg.Schedule.First, r.cfg.Schedule.Max, r.cfg.MaxWait = time.Hour, 2*time.Hour, 24*time.Hour
	r.cfg.Schedule.RetryAfterMax = 0
	key := r.park("hidden")
	ctx := t.Context()
	lot := parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	due, err := r.js.Consumer(ctx, r.layout.Parked, streams.ConsumerDue)
	if err != nil {
		t.Fatal(err)
	}
	patient := due.CachedInfo().Config
	patient.AckWait = time.Minute // nothing comes back by itself, however slow the machine
	if due, err = r.js.UpdateConsumer(ctx, r.layout.Parked, patient); err != nil {
		t.Fatal(err)
	}
	wake := func(key ledger.Key) jetstream.Msg {
		t.Helper()
		s, err := lot.Slot(ctx, key)
		if err != nil || s == nil {
			s = &parking.Slot{Key: key, Kind: entrustbus.KindIssue, Deadline: time.Now().Add(time.Hour)}
		}
		s.Due = time.Now()
		if err := lot.Arm(ctx, s); err != nil {
			t.Fatal(err)
		}
		m, err := due.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	// The server forgets what is in hand where a due subject is purged and another
	// wake-up is acknowledged: mostly the first time, since it takes what is purged
	// off the consumer's list in two ways at once, and forgets only where the one wins.
	hidden, err := wake(key).Metadata()
	if err != nil {
		t.Fatal(err)
	}
	purged, acked := ledger.Key{Producer: producer, ID: "purged"}, ledger.Key{Producer: producer, ID: "acked"}
	st, err := r.js.Stream(ctx, r.layout.Parked)
	if err != nil {
		t.Fatal(err)
	}
	var settled uint64
	for try := 0; settled < hidden.Sequence.Stream && try < 20; try++ {
		wake(purged)
		if err := st.Purge(ctx, jetstream.WithPurgeSubject(r.layout.Subjects().Due(producer, purged.ID))); err != nil {
			t.Fatal(err)
		}
		if err := wake(acked).DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
		if settled, err = lot.Settled(ctx); err != nil {
			t.Fatal(err)
		}
	}
	age(t, r, key, 2*time.Minute)
	r.cfg.Schedule.First = 100 * time.Millisecond // of the worker that looks
	if got, err := r.worker().Watch(ctx); err != nil || got != (consumer.Repairs{Lost: 1, Dead: 1}) {
		t.Errorf("the watchdog repaired %+v, %v; want one lost slot and one dead wake-up", got, err)
	}
	r.run()
	if res := r.result("hidden"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// age writes an order's record anew as if it had stood for a while. The ledger
// stamps each write with the time, so this one goes around it.
func age(t *testing.T, r *rig, key ledger.Key, by time.Duration) {
	t.Helper()
	kv, err := r.js.KeyValue(t.Context(), r.layout.Orders)
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(t.Context(), key.String())
	if err != nil {
		t.Fatal(err)
	}
	var rec map[string]any
	if err := msgpack.Unmarshal(e.Value(), &rec); err != nil {
		t.Fatal(err)
	}
	rec["updated_at"] = rec["updated_at"].(time.Time).Add(-by)
	body, err := msgpack.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(t.Context(), key.String(), body, e.Revision()); err != nil {
		t.Fatal(err)
	}
}

// A worker that died between closing an order and removing its slot left that slot
// behind. A replay, whose worker dies before it arms one of its own, must not take it
// for its own.
func TestSlotOfAnEarlierGeneration(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.cfg.Schedule.First, r.cfg.Schedule.Max, r.cfg.Schedule.RetryAfterMax, r.cfg.MaxWait = time.Hour, time.Hour, 0, 24*time.Hour
	key := r.park("o")
	l := ledger.New(r.js, r.layout.Orders)
	rec, err := l.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	request, tracking := rec.Request, rec.TrackingID
	rec.State, rec.Outcome, rec.Request = ledger.Closed, entrustbus.OutcomeCancelled, nil
	if err := l.Update(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	rec.State, rec.Outcome, rec.Request, rec.Replay = ledger.Parked, "", request, 1
	if err := l.Update(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
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

// A ledger that was lost is restored from the slots.
func TestSlotRestoresLedger(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	r.cfg.Schedule.First = 3 * time.Second
	r.cfg.Schedule.Max = 3 * time.Second
	r.park("o")
	if err := r.js.DeleteKeyValue(t.Context(), r.layout.Orders); err != nil {
		t.Fatal(err)
	}
	if _, err := streams.Provision(t.Context(), r.js, r.layout); err != nil {
		t.Fatal(err)
	}
	r.run()
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued || r.enrolled() != 1 {
		t.Errorf("result is %+v (error %+v), %d enrollments", res, res.Error, r.enrolled())
	}
	r.quiet()
}

// A wake-up after the end asks the gateway nothing, however often it comes.
func TestStaleWakeUps(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	res := r.result("o")
	r.quiet()
	lot := parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	for range 3 {
		if err := lot.Arm(t.Context(), &parking.Slot{
			Key: ledger.Key{Producer: producer, ID: "o"}, Kind: entrustbus.KindIssue, Due: time.Now(), Deadline: time.Now(),
			TrackingID: res.TrackingID, Request: &ledger.Request{},
		}); err != nil {
			t.Fatal(err)
		}
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

// A worker that died between result and ledger left a wake-up and a record that
// waits: whoever gets it closes the order, and does not ask the gateway again.
func TestWakeUpAfterTheResult(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	key := r.park("o")
	l, lot := ledger.New(r.js, r.layout.Orders), parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	rec, err := l.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	body, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, &entrustbus.Result{
		ID: "o", Producer: producer, Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeRejected, TrackingID: rec.TrackingID,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.js.Publish(t.Context(), r.layout.Subjects().Result(producer, "o"), body); err != nil {
		t.Fatal(err)
	}
	slot, err := lot.Slot(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	slot.Due = time.Now()
	if err := lot.Arm(t.Context(), slot); err != nil {
		t.Fatal(err)
	}
	cons, err := r.js.Consumer(t.Context(), r.layout.Parked, streams.ConsumerDue)
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
	if rec, err := l.Get(t.Context(), key); err != nil || rec.State != ledger.Closed || rec.Outcome != entrustbus.OutcomeRejected {
		t.Errorf("the record became %+v, %v", rec, err)
	}
	if n := r.count(r.layout.Results); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

// Nor does a wake-up of an earlier generation, while the one in force waits.
func TestWakeUpOfAnEarlierGeneration(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	key := r.park("o")
	l, lot := ledger.New(r.js, r.layout.Orders), parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	rec, err := l.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := lot.Slot(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	rec.Replay = 1
	if err := l.Update(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	slot.Due = time.Now() // of generation 0
	if err := lot.Arm(t.Context(), slot); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.quiet() // taken, and not parked again
	if poll, err := r.sim.PollsOf(rec.TrackingID); err != nil || poll.Count != 0 {
		t.Errorf("%d polls, %v; want none", poll.Count, err)
	}
	if rec, err := l.Get(t.Context(), key); err != nil || rec.State != ledger.Parked || rec.Replay != 1 {
		t.Errorf("the order in force became %+v, %v", rec, err)
	}
}

// Two wake-ups of one order, as a lost ack leaves them: both ask, both park again,
// and what they park is one slot.
func TestTwoWakeUpsMeetInOneSlot(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	key := r.park("o")
	lot := parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	slot, err := lot.Slot(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	fired := func() (n int) {
		for f, err := range lot.All(t.Context()) {
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
		slot.Due = time.Now()
		if err := lot.Arm(t.Context(), slot); err != nil {
			t.Fatal(err)
		}
		r.eventually("a wake-up", func() bool { return fired() == i+1 })
	}
	r.run()
	r.eventually("both handled", func() bool { return fired() == 0 })
	poll, err := r.sim.PollsOf(slot.TrackingID)
	if err != nil || poll.Count < 2 {
		t.Errorf("%d polls, %v; want one of each", poll.Count, err)
	}
	if n := r.count(r.layout.Parked); n != 1 {
		t.Fatalf("%d slots, want 1", n)
	}
	if err := r.sim.Approve(slot.TrackingID); err != nil {
		t.Fatal(err)
	}
	slot.Due = time.Now()
	if err := lot.Arm(t.Context(), slot); err != nil {
		t.Fatal(err)
	}
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.quiet()
	if n := r.count(r.layout.Results); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

// A pause that the gateway asks one worker for holds all of them, to its end.
func TestFleetHold(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultThrottle, RetryAfter: 3 * time.Second, Times: 1},
	}})
	var seen []*prometheus.Registry
	for range 2 {
		seen = append(seen, prometheus.NewRegistry())
		r.cfg.Metrics = consumer.NewMetrics(seen[len(seen)-1])
		r.run()
	}
	r.eventually("two workers at work", func() bool { return strings.Count(r.log.String(), "the gateway answers") == 2 })
	r.send(&entrustbus.Issue{ID: "first", CSRPEM: csr(t, "first")})
	r.eventually("the pause seen by both", func() bool {
		return !slices.ContainsFunc(seen, func(g *prometheus.Registry) bool {
			return gauge(t, g, "entrust_worker_held_until_timestamp_seconds") == 0
		})
	})
	kv, err := r.js.KeyValue(t.Context(), r.layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	hold, err := kv.Get(t.Context(), "hold")
	if err != nil {
		t.Fatal(err)
	}
	until, err := time.Parse(time.RFC3339Nano, string(hold.Value()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, fmt.Sprint("o", i))})
	}
	for i := range 20 {
		r.result(fmt.Sprint("o", i))
	}
	r.result("first")
	for e := range r.sim.AllEnrollments() {
		if e.Enrolled[0].Before(until) {
			t.Errorf("%s was submitted %s before the end of the pause", e.CN, until.Sub(e.Enrolled[0]))
		}
	}
}

// A request that kills every worker that tries it ends as a dead letter, told
// by its deliveries before anything is tried. The deaths are played by naks
// that leave the count behind.
func TestCrashed(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.send(&entrustbus.Issue{ID: "poison", CSRPEM: csr(t, "poison")})
	cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerIssue)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := r.js.KeyValue(t.Context(), r.layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		m, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Nak(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := kv.PutString(t.Context(), "suspect."+r.layout.Requests+".1", "3"); err != nil {
		t.Fatal(err)
	}
	r.run()
	if res := r.result("poison"); res.Outcome != entrustbus.OutcomeFailed || res.Error.Code != "crashed" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(deadletter.Crashed)
	r.quiet()
	if n := r.enrolled(); n != 0 {
		t.Errorf("%d enrollments of a request that must not be tried", n)
	}
	// A worker that does not die of it takes the operator's replay.
	letter := r.letters()[0]
	r.publish(entrustbus.KindIssue, letter.Request.Body, entrustbus.HeaderContentType, "application/msgpack",
		nats.MsgIdHdr, entrustbus.RequestMsgID(producer, "poison", 1), entrustbus.HeaderReplay, "1")
	if res := r.result("poison", 1); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
}

// Deliveries alone make no suspect: a message that came back often, each time
// in order, is worked on.
func TestManyDeliveriesAreNoCrash(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.send(&entrustbus.Issue{ID: "often", CSRPEM: csr(t, "often")})
	cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerIssue)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		m, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Nak(); err != nil {
			t.Fatal(err)
		}
	}
	r.run()
	if res := r.result("often"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// A result stream that cannot store keeps the request unacknowledged; when it
// can again, the result that the gateway gave is published, and the gateway is
// not asked twice.
func TestResultStreamFull(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	st, err := r.js.Stream(t.Context(), r.layout.Results)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	full := cfg
	full.MaxMsgs, full.Discard = 1, jetstream.DiscardNew
	if _, err := r.js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	if _, err := r.js.PublishMsg(t.Context(), nats.NewMsg(r.layout.Subjects().Result("other", "x"))); err != nil {
		t.Fatal(err)
	}
	stop := r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	r.eventually("a warning that says which", func() bool {
		return strings.Contains(r.log.String(), "publishing a result; trying again") && strings.Contains(r.log.String(), "it is full")
	})
	// Across a stop too: the answer is kept in the ledger.
	stop()
	if n := r.count(r.layout.Requests); n != 1 {
		t.Fatalf("%d requests on the bus while their result could not be published, want 1", n)
	}
	if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	r.run()
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("%d enrollments, want 1", n)
	}
}

// Streams that vanish and come back: the worker says which, lives, and goes on.
func TestConsumerDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.run()
	r.send(&entrustbus.Issue{ID: "a", CSRPEM: csr(t, "a")})
	r.result("a")
	if err := r.js.DeleteConsumer(t.Context(), r.layout.Requests, streams.ConsumerIssue); err != nil {
		t.Fatal(err)
	}
	r.eventually("a warning that names the consumer", func() bool {
		return strings.Contains(r.log.String(), "fetching; trying again") && strings.Contains(r.log.String(), streams.ConsumerIssue)
	})
	if _, err := streams.Provision(t.Context(), r.js, r.layout); err != nil {
		t.Fatal(err)
	}
	r.send(&entrustbus.Issue{ID: "b", CSRPEM: csr(t, "b")})
	if res := r.result("b"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v", res)
	}
}

// Revocations have a lane of their own: a backlog of slow enrollments does not
// hold one up.
func TestRevocationsOvertake(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{AcceptUnknownSerials: true, Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLatency, Delay: time.Second},
	}})
	r.cfg.Issue = 1
	r.run()
	for i := range 8 {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, fmt.Sprint("o", i))})
	}
	r.send(&entrustbus.Revoke{ID: "r", Serial: "abcdef"})
	r.result("r")
	if n := r.count(r.layout.Results); n > 4 {
		t.Errorf("%d results came before the revocation's", n-1)
	}
}

// The fleet's rate is shared by the workers that live: the part of one that
// stops is taken up by the others, and no key stays behind.
func TestFleetRate(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.FleetRate = 20
	first, second := r.run(), r.run()
	kv, err := r.js.KeyValue(t.Context(), r.layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	workers := func() int {
		keys, err := kv.ListKeysFiltered(t.Context(), "worker.*")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for range keys.Keys() {
			n++
		}
		return n
	}
	r.eventually("two workers in the control bucket", func() bool { return workers() == 2 })
	const n = 30
	begun := time.Now()
	for i := range n {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, fmt.Sprint("o", i))})
	}
	for i := range n {
		r.result(fmt.Sprint("o", i))
	}
	// A burst of a tenth of a second is free, and probes are not counted: less
	// time than this cannot be taken within the rate.
	if took := time.Since(begun); took < (n-8)*time.Second/20 {
		t.Errorf("%d orders took %s, faster than 20 a second", n, took)
	}
	first()
	second()
	r.eventually("no worker in the control bucket", func() bool { return workers() == 0 })
}
