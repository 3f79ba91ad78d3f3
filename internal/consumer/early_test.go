package consumer_test

import (
	"context"
	"strings"
	"sync"
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

// A server whose clock is ahead of the measured one fires a wake-up too early. It is scheduled
// once more, by the clock of that server, and polled when it is due.
func TestEarlyWakeupIsNoStorm(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	key := r.park("o")
	w := r.wakeupOf(key)
	w.Due, w.At = time.Now().Add(4*time.Second).UTC(), time.Now()
	if err := wakeup.New(r.js, r.layout.Parked, r.layout.Subjects()).Schedule(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	r.run()
	polls := func() (n int) {
		for p := range r.sim.Polls() {
			n += p.Count
		}
		return n
	}
	r.eventually("the poll", func() bool { return polls() == 1 })
	if early := time.Until(w.Due); early > time.Second {
		t.Errorf("polled %s early", early)
	}
	c, err := r.js.Consumer(t.Context(), r.layout.Parked, streams.ConsumerPoll)
	if err != nil {
		t.Fatal(err)
	}
	if n := c.CachedInfo().Delivered.Consumer; n > 3 {
		t.Errorf("the wake-up came %d times, want 2", n)
	}
}

// outrun is a bus on which another worker acts before the first wake-up.
type outrun struct {
	jetstream.JetStream
	once sync.Once
	by   func()
}

func (o *outrun) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if strings.HasPrefix(m.Subject, "entrust.parked.") {
		o.once.Do(o.by)
	}
	return o.JetStream.PublishMsg(ctx, m, opts...)
}

// A worker that waits for another worker's lease does not replace that worker's wake-up with
// its own: the order is polled in time.
func TestLeaseWaitLeavesThePollInTime(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	r.park("o") // as another worker leaves an order
	parked := r.record("o")
	key := order.Key{Producer: producer, ID: "o"}
	poll := r.wakeupOf(key)
	wakeups := wakeup.New(r.js, r.layout.Parked, r.layout.Subjects())
	if err := wakeups.Cancel(t.Context(), key, 0); err != nil {
		t.Fatal(err)
	}
	calling := parked.Record
	calling.Phase, calling.Owner, calling.Lease, calling.TrackingID, calling.Deadline = order.Submitting, "other", time.Hour, "", time.Time{}
	r.write("o", calling)
	bus := &outrun{JetStream: r.server.JetStream(t), by: func() {
		r.write("o", parked.Record)
		if err := wakeups.Schedule(t.Context(), poll); err != nil {
			t.Error(err)
		}
	}}
	r.runOn(bus, r.client())
	wait := *poll
	wait.Lane, wait.TrackingID, wait.Due = order.LaneResubmit, "", time.Now()
	if err := wakeups.Schedule(t.Context(), &wait); err != nil {
		t.Fatal(err)
	}
	r.eventually("the due message done with", func() bool {
		c, err := r.js.Consumer(t.Context(), r.layout.Parked, streams.ConsumerResubmit)
		return err == nil && c.CachedInfo().AckFloor.Consumer == 1
	})
	if got := r.wakeupOf(key); got.Lane != order.LanePoll || got.Kind != entrustbus.KindIssue {
		t.Errorf("the wake-up is %+v, want a poll", got)
	}
}
