package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// A message that arrived before a stop is handled: the server would redeliver it only after its
// ack wait. Status messages of the server are not handled as messages.
func TestStopTakesWhatHasCome(t *testing.T) {
	t.Parallel()
	const n = 64
	p := &pulls{come: make(chan *nats.Msg, n+1), batch: new(sync.WaitGroup), changed: make(chan struct{}, 1)}
	sub := subscribe(p)
	for range n {
		p.come <- &nats.Msg{Sub: sub(0), Reply: "$JS.ACK", Header: nats.Header{"Status": {"408"}}}
	}
	p.come <- &nats.Msg{Sub: sub(0), Header: nats.Header{"Status": {"408"}}}
	stop, cancel := context.WithCancel(t.Context())
	cancel()
	taken := 0
	p.run(stop, func(*nats.Msg, func()) error { taken++; return nil })
	if taken != n {
		t.Errorf("%d messages of %d were taken", taken, n)
	}
}

// In every order of arrivals, the messages in flight and requested never exceed the lane's
// room. Messages of pulls that were given up are the exception. The lane always requests again.
func TestRoomOfALane(t *testing.T) {
	t.Parallel()
	nc, err := testbed.Start(t).Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.IntRange(1, 20).Draw(t, "messages")
		p := &pulls{
			nc: nc, subject: "nothing.listens", free: messages, least: max(1, messages/4),
			batch: new(sync.WaitGroup), changed: make(chan struct{}, 1),
		}
		sub := subscribe(p)
		var inFlight []func()
		unreadable := false
		begin := func(_ *nats.Msg, done func()) error {
			if unreadable {
				return errors.New("no metadata")
			}
			inFlight = append(inFlight, done)
			return nil
		}
		late := 0
		now, cancel := context.WithCancel(t.Context())
		cancel()
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				asked, _ := p.asked()
				if p.free+asked+len(inFlight) != messages || p.free < -late || asked < 0 {
					t.Fatalf("%d free, %d asked for, %d in flight, of %d", p.free, asked, len(inFlight), messages)
				}
				if asked == 0 && p.free > 0 && !p.enough() {
					t.Fatalf("%d are free, none is asked for, and nothing will be", p.free)
				}
			},
			"ask": func(t *rapid.T) {
				n, _ := p.room(now)
				if n == 0 {
					return
				}
				if err := p.ask(rapid.IntRange(1, n).Draw(t, "n")); err != nil {
					t.Fatal(err)
				}
			},
			"message": func(t *rapid.T) {
				i := rapid.IntRange(0, openPulls-1).Draw(t, "pull")
				if p.all[i].left == 0 {
					late++
				}
				unreadable = rapid.Bool().Draw(t, "unreadable")
				p.receive(&nats.Msg{Sub: sub(i), Reply: "r"}, begin)
			},
			"word": func(t *rapid.T) {
				i := rapid.IntRange(0, openPulls-1).Draw(t, "pull")
				p.receive(&nats.Msg{Sub: sub(i), Header: nats.Header{"Status": {rapid.SampledFrom([]string{"408", "409"}).Draw(t, "status")}}}, begin)
			},
			"handled": func(t *rapid.T) {
				if len(inFlight) > 0 {
					inFlight[0]()
					inFlight = inFlight[1:]
				}
			},
			"silence": func(*rapid.T) {
				for i := range p.all {
					p.all[i].over = time.Now()
				}
				_, _ = p.room(now)
				if asked, _ := p.asked(); asked > 0 {
					t.Fatalf("%d messages are asked for that the server forgot", asked)
				}
			},
		})
	})
}

// subscribe gives each pull a subscription of its own, identified by the number of the pull.
func subscribe(p *pulls) func(int) *nats.Subscription {
	for i := range p.all {
		p.all[i].sub = &nats.Subscription{Subject: fmt.Sprint("inbox.", i)}
	}
	return func(i int) *nats.Subscription { return p.all[i].sub }
}

// Two due messages of one order are not handled at once; two requests on one subject are.
func TestOneDueMessageOfAnOrderAtATime(t *testing.T) {
	t.Parallel()
	message := func(l *lane, subject string, sequence uint64) *delivery {
		return &delivery{lane: l, sequence: sequence, msg: message{m: &nats.Msg{Subject: subject}}}
	}
	due, requests := &lane{due: true, inFlight: map[flight]*delivery{}}, &lane{inFlight: map[flight]*delivery{}}
	first, second := message(due, "entrust.due.poll.shop.a", 1), message(due, "entrust.due.poll.shop.a", 2)
	if due.begin(first) != nil || due.begin(second) != first || due.begin(message(due, "entrust.due.poll.shop.b", 3)) != nil {
		t.Error("a second due message of an order was put in flight, or another order's was not")
	}
	due.end(first)
	if due.begin(second) != nil {
		t.Error("after the first, the second is not put in flight")
	}
	a := message(requests, "entrust.request.shop.issue", 1)
	if requests.begin(a) != nil || requests.begin(message(requests, "entrust.request.shop.issue", 2)) != nil || requests.begin(a) != a {
		t.Error("two requests of a producer are not in flight together, or one is twice")
	}
}
