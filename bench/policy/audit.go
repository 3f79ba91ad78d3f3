package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

const (
	// records is the number of records. writers is the number of concurrent writers, like
	// a worker's orders in flight.
	records = 50_000
	writers = 64
)

// auditCost returns the worker's CPU time for one record of an issued order. The server
// is another process and does not count.
func auditCost() (time.Duration, error) {
	dir, err := os.MkdirTemp("", "bench-audit-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	srv, err := testbed.Run(testbed.Config{Dir: dir, Process: true})
	if err != nil {
		return 0, err
	}
	defer srv.Stop()
	nc, err := nats.Connect(srv.URL)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	layout := streams.DefaultLayout()
	layout.Audited = true
	ctx := context.Background()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		return 0, err
	}
	trail := audit.New(audit.Config{
		JS: js, Stream: layout.Audit, Subjects: layout.Subjects(), Chain: "bench", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	go trail.Run(ctx)
	if err := trail.Wait(ctx); err != nil {
		return 0, err
	}
	before, err := cpu()
	if err != nil {
		return 0, err
	}
	var all sync.WaitGroup
	failed := make(chan error, writers)
	for w := range writers {
		all.Go(func() {
			for i := range records / writers {
				id := fmt.Sprintf("shop.order-%d-%d.0.issued", w, i)
				err := trail.Append(ctx, id, &audit.Record{
					Decision: "issued", Producer: "shop", Order: fmt.Sprintf("order-%d-%d", w, i), Kind: "issue", Outcome: "issued",
					Digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Serial: "5ee8d59f17ee13d95c36c83d00000001",
					CAID: "issuing-1", ProfileID: "tls-server", TrackingID: "7d1f2c5e", Submissions: 1, SubmittedAt: time.Now().UTC(),
					Policy: "6643f4f1f8c5858de66f997cb9ba761d",
				})
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	after, err := cpu()
	if err != nil {
		return 0, err
	}
	select {
	case err := <-failed:
		return 0, err
	default:
	}
	return (after - before) / (records / writers * writers), trail.Close(ctx)
}
