// Command expectzero shows why a slot is parked without an expected sequence.
//
// An expected sequence of 0 looks like the way not to park an order twice. On a
// replicated stream a wake-up can reach a worker before the stream's leader has
// applied the purge of the slot that fired: the re-park is then refused although
// nothing is parked, and whoever takes the refusal for "parked already" and acks
// loses the order. The command runs three servers, lets 200 orders wake and park
// themselves again, and ends with the first refusal of a slot that was free, or
// after two minutes. It takes a few seconds as a rule; the race depends on where
// the leaders are and how busy the machine is.
//
//	go run ./internal/parking/expectzero
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
	arm := func(id string, opts ...jetstream.PublishOpt) error {
		msg := nats.NewMsg(subjects.Parked("shop", id))
		msg.Header.Set("Nats-Schedule", "@at "+time.Now().Add(50*time.Millisecond).UTC().Format(time.RFC3339Nano))
		msg.Header.Set("Nats-Schedule-Target", subjects.Due("shop", id))
		_, err := js.PublishMsg(ctx, msg, opts...)
		return err
	}
	due, err := js.Consumer(ctx, layout.Parked, streams.ConsumerDue)
	if err != nil {
		return err
	}
	for i := range 200 {
		if err := arm(fmt.Sprint("o", i)); err != nil {
			return err
		}
	}
	var parked atomic.Int64
	refused := make(chan string, 1)
	consuming, err := due.Consume(func(m jetstream.Msg) {
		_, id, err := subjects.ParseOrder(m.Subject())
		if err != nil {
			return
		}
		// The slot has fired, so it is free; nobody else parks this order.
		switch err := arm(id, jetstream.WithExpectLastSequencePerSubject(0)); {
		case err == nil:
			parked.Add(1)
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
		fmt.Printf("refused a free slot after %d re-parks: %s\n", parked.Load(), why)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no free slot was refused in %d re-parks; run it again on a busier machine", parked.Load())
	}
}
