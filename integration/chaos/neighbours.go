package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

func setupNeighbours(_ context.Context, r *run) (setup, error) {
	dialect := []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW}[r.seed%2]
	r.say("dialect %s", dialect)
	return setup{
		servers: 1, workers: 2, others: true,
		gateway: gatewaytest.Config{
			Dialect: dialect, Seed: r.seed, ApproveAfter: 2 * time.Second,
			Latency: 5 * time.Millisecond, LatencyJitter: 50 * time.Millisecond,
			Faults: []gatewaytest.Fault{
				{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 400, CNPrefix: "bad-", Message: "no such profile"},
			},
		},
		settings: rig.Settings{Concurrency: 16, MaxWait: 20 * time.Minute},
	}, nil
}

// neighbour is a producer that disturbs others.
type neighbour struct {
	name  string
	every time.Duration
	// message makes the i-th message. An empty subject means the producer's own.
	message func(rnd *rand.Rand, i int) (*nats.Msg, error)
}

// playNeighbours runs a producer beside others that send messages no worker can use, or
// requests that the gateway refuses, each faster than the producer. All orders of the
// producer must be issued soon, and none held.
func playNeighbours(ctx context.Context, r *run) (*tally, error) {
	orders, err := r.beside(ctx, mixed, func(ctx context.Context) error {
		ctx, end := context.WithTimeout(ctx, r.span)
		defer end()
		var all sync.WaitGroup
		for i, n := range r.neighbours() {
			all.Go(func() { r.harass(ctx, n, r.draws(20+uint64(i))) })
		}
		// A producer whose orders are all answered 500 is slowed alone. The fault ends
		// before the run does, because the producer's orders must end within the run.
		all.Go(func() {
			_ = r.phases(ctx, r.span/6, phase{"one producer's orders answered 500", r.span / 5, 0,
				r.spoil(gatewaytest.Fault{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 500, CNPrefix: "ill-"})})
		})
		all.Wait()
		return nil
	})
	if err != nil {
		return nil, err
	}
	t, err := r.finish(ctx, orders)
	if err != nil {
		return nil, err
	}
	var waits []time.Duration // from request to submission
	for _, o := range orders {
		if res := t.Results[o.Key()]; res != nil {
			waits = append(waits, res.SubmittedAt.Sub(res.RequestedAt))
		}
	}
	if len(waits) > 0 {
		slices.Sort(waits)
		typical, longest := waits[len(waits)/2], waits[len(waits)-1]
		t.Notes = append(t.Notes, fmt.Sprintf("orders waited %v for their submission, typically, and %v at most; neighbours: %v",
			typical.Round(time.Millisecond), longest.Round(time.Millisecond), r.struck))
		if longest > r.span/3 {
			t.find("an order waited %v for its submission", longest)
		}
	}
	return t, nil
}

// harass makes a neighbour publish until ctx ends.
func (r *run) harass(ctx context.Context, n neighbour, rnd *rand.Rand) {
	for i := 0; testbed.Sleep(ctx, n.every) == nil; i++ {
		m, err := n.message(rnd, i)
		if err != nil {
			r.say("%s: %v", n.name, err)
			return
		}
		if m.Subject == "" {
			m.Subject = r.site.Layout.Subjects().Request(n.name, entrustbus.KindIssue)
		}
		// The stream may be full for a while: that affects only the neighbour.
		if err := r.site.NATS.PublishMsg(m); err == nil {
			r.count(n.name)
		}
	}
}

func (r *run) neighbours() []neighbour {
	// order makes the message of an issue request whose common name begins with word.
	order := func(i int, word string, change func(q *entrustbus.Issue)) (*nats.Msg, error) {
		q := oracle.NewIssue(fmt.Sprintf("order-%d", i), word).Request.(*entrustbus.Issue)
		if change != nil {
			change(q)
		}
		body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, q)
		return &nats.Msg{Data: body}, err
	}
	return []neighbour{
		{"garbage", 50 * time.Millisecond, func(rnd *rand.Rand, i int) (*nats.Msg, error) {
			body := make([]byte, rnd.IntN(2000))
			for k := range body {
				body[k] = byte(rnd.Uint32())
			}
			if i%2 == 0 {
				body = append([]byte("{"), body...)
			}
			return &nats.Msg{Data: body}, nil
		}},
		{"headers", 200 * time.Millisecond, func(_ *rand.Rand, i int) (*nats.Msg, error) {
			m, err := order(i, "issue", nil)
			if err != nil || i%2 == 0 {
				m = &nats.Msg{Data: []byte("\xc1")}
			}
			m.Header = nats.Header{"Entrust-Noise": {strings.Repeat("x", 65_200)}}
			return m, err
		}},
		// Message ids that a client may give the other producer's messages.
		{"swallower", 50 * time.Millisecond, func(_ *rand.Rand, i int) (*nats.Msg, error) {
			id := fmt.Sprintf("order-%d", i/4)
			id = []string{id, oracle.Producer + "." + id, oracle.Producer + "." + id + ".0", oracle.Producer + "." + id + ".issue"}[i%4]
			return &nats.Msg{Data: []byte("\xc1"), Header: nats.Header{nats.MsgIdHdr: {id}}}, nil
		}},
		{"ill", 250 * time.Millisecond, func(_ *rand.Rand, i int) (*nats.Msg, error) { return order(i, "ill", nil) }},
		{"flood", 30 * time.Millisecond, func(_ *rand.Rand, i int) (*nats.Msg, error) { return order(i, "bad", nil) }},
		{"lost", 100 * time.Millisecond, func(rnd *rand.Rand, i int) (*nats.Msg, error) {
			return order(i, "issue", func(q *entrustbus.Issue) { q.CAID = fmt.Sprintf("ca-%d", rnd.Uint32()) })
		}},
	}
}
