package consumer_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// opening is how many bad answers in a row open a breaker.
const opening = 5

var errLost = &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unknown, Class: "timeout", Message: "lost"}

// openBreaker sends orders until their answers open the breaker of enrollments, then n more
// after a while.
func (r *rig) openBreaker(after time.Duration, n int) {
	r.t.Helper()
	for i := range opening + n {
		if i == opening {
			r.eventually("an open breaker", func() bool { return strings.Contains(r.log.String(), "breaker opened") })
			time.Sleep(after)
		}
		id := fmt.Sprint("o", i)
		r.send(&entrustbus.Issue{ID: id, CSRPEM: csr(r.t, id)})
	}
}

// A call that panics while its breaker lets one call through at a time returns its permit:
// other calls continue.
func TestPanicInARampUp(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	var calls atomic.Int32
	r.runWith(&enroller{enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
		switch n := calls.Add(1); {
		case n <= opening:
			return gateway.Answer{}, errLost
		case n == opening+2: // the first call after the canary
			panic("as the test says")
		}
		return gateway.Answer{State: gateway.Pending, TrackingID: "T-1", HTTPStatus: 202}, nil
	}})
	const n = 6
	r.openBreaker(0, n)
	r.eventually("a call for each order", func() bool { return calls.Load() >= opening+n })
}

// An open breaker lets one call through at a time, and its lane fetches no more messages. A
// fetched message that goes back counts as delivered, like a message that crashes workers.
func TestOpenBreakerLeavesRequestsAlone(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	var calls atomic.Int32
	r.runWith(&enroller{enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
		calls.Add(1)
		return gateway.Answer{}, errLost
	}})
	const n = 40
	r.openBreaker(3*time.Second, n) // the open pull has ended
	r.eventually("two canaries", func() bool { return calls.Load() >= opening+2 })
	cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerIssue)
	if err != nil {
		t.Fatal(err)
	}
	if got := cons.CachedInfo().Delivered.Consumer; got > opening+n/2 {
		t.Errorf("%d deliveries for %d calls", got, calls.Load())
	}
}

// unheard is a bus that does not store the key by which a worker measures the server's time.
type unheard struct {
	jetstream.JetStream
	until <-chan struct{}
}

func (u *unheard) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if strings.HasPrefix(m.Subject, "$KV.ENTRUST_CONTROL.worker.") {
		select {
		case <-u.until:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return u.JetStream.PublishMsg(ctx, m, opts...)
}

// No message is fetched before the server's time is known: the host's clock may be hours ahead.
func TestNothingIsFetchedWithoutTheServersTime(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	until := make(chan struct{})
	r.send(&entrustbus.Cancel{ID: "c", Order: "none"})
	r.runOn(&unheard{r.server.JetStream(t), until}, r.client())
	time.Sleep(500 * time.Millisecond)
	cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerManage)
	if err != nil {
		t.Fatal(err)
	}
	if got := cons.CachedInfo().Delivered.Consumer; got != 0 {
		t.Errorf("%d messages were fetched", got)
	}
	close(until)
	r.result("c")
}
