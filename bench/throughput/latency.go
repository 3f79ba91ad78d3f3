package main

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/stats"
)

// latencyRate is the requests per second of each side while latency is measured.
const latencyRate = 20

// latency is the latency that one side adds, in milliseconds: from the publishing of a
// request to the arrival of its result, minus the gateway's median.
type latency struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// addedLatency publishes requests for all sides in turn, at a constant rate.
func addedLatency(ctx context.Context, sides []*side, ready gatewayReady, c *csrs, over time.Duration) (map[string]latency, error) {
	post, err := ready.poster(1)
	if err != nil {
		return nil, err
	}
	come := make(chan *nats.Msg, 1024)
	spreads := map[string]*stats.Spread{"gateway": new(stats.Spread)}
	var asked []*side
	for _, s := range sides {
		if s.name == "bus" {
			continue
		}
		asked = append(asked, s)
		spreads[s.name] = new(stats.Spread)
		sub, err := s.road.bus.nc.ChanSubscribe(s.road.prefix+".result.>", come)
		if err != nil {
			return nil, err
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	// One at a time: no order waits for another, and all sides have the same rate.
	tick := time.NewTicker(time.Second / time.Duration(latencyRate*(len(asked)+1)))
	defer tick.Stop()
	warm := 2 * latencyRate
	for i := range int(over.Seconds()*latencyRate) + warm {
		ids, csrs := c.next(1)
		<-tick.C
		begun := time.Now()
		if _, err := post(csrs[0]); err != nil {
			return nil, err
		}
		if i >= warm {
			spreads["gateway"].Add(time.Since(begun))
		}
		for _, s := range asked {
			<-tick.C
			msg, err := s.road.request(ids[0], csrs[0])
			if err != nil {
				return nil, err
			}
			begun := time.Now()
			if err := s.road.bus.nc.PublishMsg(msg); err != nil {
				return nil, err
			}
			if err := arrives(ctx, come, ids[0]); err != nil {
				return nil, err
			}
			if i >= warm {
				spreads[s.name].Add(time.Since(begun))
			}
		}
	}
	own := spreads["gateway"].At(0.5)
	all := map[string]latency{}
	for name, s := range spreads {
		less := own
		if name == "gateway" {
			less = 0
		}
		ms := func(p float64) float64 { return float64((s.At(p) - less).Microseconds()) / 1000 }
		all[name] = latency{ms(0.5), ms(0.99)}
	}
	return all, nil
}

// arrives waits for the result of an order.
func arrives(ctx context.Context, come <-chan *nats.Msg, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return testbed.Sleep(ctx, 0)
		case m := <-come:
			if strings.HasSuffix(m.Subject, "."+id) {
				return nil
			}
		}
	}
}
