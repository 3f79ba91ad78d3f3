// Command find measures how long a search for orders takes: 12 failed orders among
// 700,000 ledger records, in a nats-server of its own process.
//
//	go run ./find [-orders 700000]
//
// The bar is one second for those 12. The command also measures reading the whole ledger.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

const (
	failed = 12
	// within is the time of a search that the verb orders ls uses at a terminal.
	within = 600 * time.Millisecond
	limit  = 100
)

func main() {
	orders := flag.Int("orders", 700_000, "records of the ledger")
	flag.Parse()
	if err := run(context.Background(), *orders); err != nil {
		fmt.Fprintln(os.Stderr, "find:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, orders int) error {
	dir, err := os.MkdirTemp("", "bench-find-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	srv, err := testbed.Run(testbed.Config{Dir: dir, Process: true})
	if err != nil {
		return err
	}
	defer srv.Stop()
	nc, err := nats.Connect(srv.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		return err
	}
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		return err
	}
	begun := time.Now()
	if err := fill(ctx, js, layout, orders); err != nil {
		return err
	}
	fmt.Printf("%d records of the ledger written in %v\n", orders, time.Since(begun).Round(time.Millisecond))
	return measure(ctx, find.New(js, layout, time.Now), orders)
}

// fill writes the ledger. One order in each twelfth of it failed, with a dead letter.
func fill(ctx context.Context, js jetstream.JetStream, layout streams.Layout, orders int) error {
	letters := deadletter.New(js, layout.Dead, layout.Subjects())
	now := time.Now().UTC()
	for i := range orders {
		key := order.Key{Producer: "shop", ID: fmt.Sprint("order-", i)}
		r := order.Record{
			Phase: order.Closed, Kind: entrustbus.KindIssue, Digest: make([]byte, 32), Origin: order.Ref{Sequence: uint64(i + 1), Time: now},
			RequestedAt: now, CAID: "issuing-1", ProfileID: "tls-server", Submissions: 1, SubmittedAt: now,
			TrackingID: fmt.Sprint("t-", i), Outcome: entrustbus.OutcomeIssued, Serial: fmt.Sprintf("5ee8d59f%08x", i),
		}
		if i%(orders/failed) == orders/failed/2 {
			r.Outcome, r.Serial = entrustbus.OutcomeFailed, ""
			err := letters.Put(ctx, &deadletter.Letter{Time: now, Letter: order.Letter{
				Reason: order.Rejected, Key: key, Kind: r.Kind, Why: "no such profile", ID: key.String(),
				Request: order.Message{Subject: layout.Subjects().Request(key.Producer, r.Kind), Body: []byte("{}")},
			}})
			if err != nil {
				return err
			}
		}
		data, err := r.Encode()
		if err != nil {
			return err
		}
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: "$KV." + layout.Orders + "." + key.String(), Data: data}); err != nil {
			return err
		}
	}
	// The certificate of the search is the oldest.
	c := certs.Certificate{Producer: "shop", Order: "order-1"}
	if err := certs.New(js, layout.Certs).Put(ctx, "issuing-1", "5ee8d59f00000001", c, time.Hour); err != nil {
		return err
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%d records are not acknowledged", js.PublishAsyncPending())
	}
}

func measure(ctx context.Context, f *find.Finder, orders int) error {
	for _, s := range []struct {
		what  string
		query find.Query
		want  int
	}{
		{"12 that failed", find.Query{Outcome: entrustbus.OutcomeFailed}, failed},
		{"12 in trouble", find.Query{Trouble: true}, failed},
		{"the oldest, by its serial number", find.Query{Serial: "5ee8d59f00000001"}, 1},
		{"the newest 100", find.Query{}, limit},
		{"one of the newest, by its tracking id", find.Query{TrackingID: fmt.Sprint("t-", orders-1000)}, 1},
	} {
		for range 3 {
			begun := time.Now()
			found, err := f.Newest(ctx, s.query, limit, within)
			if err != nil {
				return err
			}
			how := "whole"
			if !found.Since.IsZero() {
				how = "in part"
			}
			fmt.Printf("%-40s found %3d of %3d in %v, ledger read %s\n", s.what, len(found.Orders), s.want, time.Since(begun).Round(time.Millisecond), how)
		}
	}
	begun, n := time.Now(), 0
	for _, err := range f.All(ctx, find.Query{Outcome: entrustbus.OutcomeFailed}) {
		if err != nil {
			return err
		}
		n++
	}
	fmt.Printf("%-40s found %3d of %3d in %v, ledger read whole\n", "12 that failed, by the ledger alone", n, failed, time.Since(begun).Round(time.Millisecond))
	return nil
}
