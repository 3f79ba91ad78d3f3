// Command expectzero shows why a wake-up is scheduled without an expected sequence.
//
// An expected sequence of 0 looks like the way not to schedule an order twice. On a
// replicated stream a due message can reach a worker before the stream's leader has
// applied the purge of the wake-up that fired: the next one is then refused although
// none is scheduled. A worker that takes the refusal for "scheduled already" and acks
// loses the order. The command runs three servers, wakes and schedules 200 orders over
// and over, and ends with the first refusal of a subject that was free, or after two
// minutes. It takes a few seconds as a rule; the race depends on where the leaders are
// and how busy the machine is.
//
//	go run ./internal/wakeup/expectzero
package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/natstest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	cluster, err := natstest.RunCluster(natstest.ClusterConfig{Size: 3})
	if err != nil {
		return err
	}
	defer cluster.Stop()
	nc, err := cluster.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	layout := streams.DefaultLayout()
	layout.Replicas = 3
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		return err
	}
	subjects := layout.Subjects()
	schedule := func(id string, opts ...jetstream.PublishOpt) error {
		msg := nats.NewMsg(subjects.Parked("shop", id))
		msg.Header.Set("Nats-Schedule", "@at "+time.Now().Add(50*time.Millisecond).UTC().Format(time.RFC3339Nano))
		msg.Header.Set("Nats-Schedule-Target", subjects.Due(streams.DuePoll, "shop", id))
		_, err := js.PublishMsg(ctx, msg, opts...)
		return err
	}
	due, err := js.Consumer(ctx, layout.Parked, streams.ConsumerPoll)
	if err != nil {
		return err
	}
	for i := range 200 {
		if err := schedule(fmt.Sprint("o", i)); err != nil {
			return err
		}
	}
	var scheduled atomic.Int64
	refused := make(chan string, 1)
	consuming, err := due.Consume(func(m jetstream.Msg) {
		_, _, id, err := subjects.ParseDue(m.Subject())
		if err != nil {
			return
		}
		// The wake-up has fired, so its subject is free; nothing else schedules this order.
		switch err := schedule(id, jetstream.WithExpectLastSequencePerSubject(0)); {
		case err == nil:
			scheduled.Add(1)
		case streams.IsConflict(err):
			select {
			case refused <- fmt.Sprintf("order %s: %v", id, err):
			default:
			}
		}
		_ = m.Ack() // what the variant does in either case
	}, jetstream.PullMaxMessages(64))
	if err != nil {
		return err
	}
	defer consuming.Stop()
	select {
	case why := <-refused:
		fmt.Printf("refused a free subject after %d wake-ups: %s\n", scheduled.Load(), why)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no free subject was refused in %d wake-ups; run it again on a busier machine", scheduled.Load())
	}
}
