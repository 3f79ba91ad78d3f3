package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed/stats"
)

// queued is how many issue requests wait while revocations are measured.
const queued = 50_000

// revocations holds the latency of revocations, from the publishing of a request to the
// arrival of its result: alone, and with issue requests queued.
type revocations struct {
	Empty  latency `json:"empty"`
	Queued latency `json:"queued"`
	// Left is the number of issue requests that still waited at the end.
	Left uint64 `json:"left"`
}

// measureRevocations sends revocations at a constant rate, before and while the worker
// handles a queue of issue requests. It purges the rest of the queue.
func measureRevocations(ctx context.Context, s *side, c *csrs, over time.Duration) (*revocations, error) {
	var r revocations
	var err error
	if r.Empty, err = s.road.revoke(ctx, c, over); err != nil {
		return nil, err
	}
	ids, some := c.next(queued)
	if err := s.road.fill(ctx, ids, some); err != nil {
		return nil, err
	}
	js := s.road.bus.js
	if _, err := js.ResumeConsumer(ctx, s.road.requests, s.road.consumer); err != nil {
		return nil, err
	}
	if r.Queued, err = s.road.revoke(ctx, c, over); err != nil {
		return nil, err
	}
	cons, err := js.Consumer(ctx, s.road.requests, s.road.consumer)
	if err != nil {
		return nil, err
	}
	if r.Left = cons.CachedInfo().NumPending; r.Left == 0 {
		return nil, fmt.Errorf("the queue of %d was empty before the revocations ended: nothing was measured", queued)
	}
	stream, err := js.Stream(ctx, s.road.requests)
	if err != nil {
		return nil, err
	}
	return &r, stream.Purge(ctx)
}

// revoke sends revocations one after the other, and returns their latency.
func (r *road) revoke(ctx context.Context, c *csrs, over time.Duration) (l latency, err error) {
	come := make(chan *nats.Msg, 1<<16) // results of the queue arrive here too
	sub, err := r.bus.nc.ChanSubscribe(r.prefix+".result."+producer+".*", come)
	if err != nil {
		return l, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	tick := time.NewTicker(time.Second / latencyRate)
	defer tick.Stop()
	var spread stats.Spread
	warm := latencyRate
	for i := range int(over.Seconds()*latencyRate) + warm {
		ids, _ := c.next(1)
		id := "revocation-" + ids[0]
		body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, &entrustbus.Revoke{ID: id, SerialDecimal: fmt.Sprint(c.used), Reason: "superseded"})
		if err != nil {
			return l, err
		}
		<-tick.C
		begun := time.Now()
		if err := r.bus.nc.PublishMsg(&nats.Msg{
			Subject: entrustbus.Subjects{Prefix: r.prefix}.Request(producer, entrustbus.KindRevoke), Data: body,
			Header: nats.Header{entrustbus.HeaderContentType: {entrustbus.EncodingMsgpack.ContentType()}},
		}); err != nil {
			return l, err
		}
		if err := arrives(ctx, come, id); err != nil {
			return l, err
		}
		if i >= warm {
			spread.Add(time.Since(begun))
		}
	}
	ms := func(p float64) float64 { return float64(spread.At(p).Microseconds()) / 1000 }
	return latency{ms(0.5), ms(0.99)}, nil
}
