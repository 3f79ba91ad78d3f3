//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// clusterRun is three servers in processes of their own, streams with three replicas, and
// two workers. The second worker reaches the servers over links.
type clusterRun struct {
	*crashRun
	cluster *testbed.Cluster
	links   []*testbed.Link
	holds   []string // orders to cancel in the next round
	n       int      // orders so far
}

// upsets are the faults of the cluster while orders of every kind are published and
// parked. After each the cluster is complete again.
var upsets = []struct {
	name string
	do   func(context.Context, *clusterRun) error
}{
	{"leader killed", killLeader},
	{"leaders step down", stepDown},
	{"rolling restart", rollingRestart},
	{"server partitioned", partitionServer},
	{"worker partitioned", partitionWorker},
}

// Orders flow through three servers while these lose leaders, servers and networks, one
// fault after the other. After each fault the bus comes to rest and the oracle checks it:
// no order lost, none enrolled twice, no second result, no poll early or after its
// order's end. No worker dies here, so no order may be held.
func TestCluster(t *testing.T) {
	t.Parallel()
	r := startCluster(t)
	for _, upset := range upsets {
		ok := t.Run(upset.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			c := *r.crashRun
			c.T, c.ctx = t, ctx
			r.crashRun = &c

			begun, before := time.Now(), len(r.orders)
			r.round() // parked, or about to be, when the fault begins
			over := make(chan error, 1)
			go func() { over <- upset.do(ctx, r) }()
			r.flow(over)
			if err := r.site.CaughtUp(ctx); err != nil {
				t.Fatal(err)
			}
			v := check(ctx, t, r.site, r.orders)
			if v.HeldUnconfirmed > 0 {
				t.Errorf("%d orders are held although no worker died: %v", v.HeldUnconfirmed, v.Notes)
			}
			// A wrong poll of an ended order would come with its next wake-up. A poll in
			// flight at the end is over sooner.
			late, err := r.site.PolledAfterClose(ctx, r.orders, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range late {
				t.Error(l)
			}
			t.Logf("%d requests in %v; of all so far: %s", len(r.orders)-before, time.Since(begun).Round(100*time.Millisecond), v)
		})
		if !ok {
			return // the broken promise would show again in later rounds
		}
	}
}

// startCluster starts servers, gateway and workers until the test ends.
func startCluster(t *testing.T) *clusterRun {
	r := &clusterRun{cluster: testbed.StartProcessCluster(t, 3, permitted(t, "cluster"))}
	var urls []string
	for _, s := range r.cluster.Servers {
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		l, err := testbed.NewLink(u.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		r.links, urls = append(r.links, l), append(urls, "nats://"+l.Addr())
	}
	gw := startGateway(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl, ApproveAfter: time.Second})
	// The producer leaves a hanging server within some seconds.
	nc := r.cluster.Conn(t, nats.PingInterval(time.Second))
	site := openSite(t, nil, rig.Config{
		Name: "cluster", NATS: nc, WorkerNATS: r.cluster.URL(), Replicas: 3, Gateway: gw, Binary: workerBinary,
		// An election takes up to 9 s. With a lease that is longer than election and
		// partition, no living worker counts as dead.
		Settings: rig.Settings{Dialect: "certctl", EnrollTimeout: 15 * time.Second},
		Faults:   new(oracle.Faults), // no fault explains a held order
	})
	startWorker(t, site, nil)
	site.WorkerNATS = strings.Join(urls, ",")
	startWorker(t, site, nil)
	r.crashRun = &crashRun{T: t, ctx: t.Context(), site: site, gw: gw}
	return r
}

// flow publishes orders of every kind, round after round, until the fault is over. It
// fails the test if the fault could not be made.
func (r *clusterRun) flow(over <-chan error) {
	r.Helper()
	every := 300 * time.Millisecond
	if testing.Short() {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		r.round()
		select {
		case err := <-over:
			if err != nil {
				r.Fatal(err)
			}
			r.round()
			return
		case <-tick.C:
		}
	}
}

// round publishes one order of each kind, and cancels the order of the round before.
func (r *clusterRun) round() {
	next := func(wants ...entrustbus.Outcome) func(*oracle.Order) {
		r.n++
		r.id = fmt.Sprintf("order-%d", r.n)
		return func(o *oracle.Order) { o.Want = wants }
	}
	seconds := func(n int64) func(*entrustbus.Issue) {
		return func(q *entrustbus.Issue) { q.PollMaxWaitSeconds = n }
	}
	for fate, want := range map[string]entrustbus.Outcome{
		"issue": entrustbus.OutcomeIssued, "pending": entrustbus.OutcomeIssued,
		"reject": entrustbus.OutcomeRejected, "decline": entrustbus.OutcomeRejected,
	} {
		next(want)(r.order(fate, nil))
	}
	next(entrustbus.OutcomeExpired)(r.order("hold", seconds(1)))
	next(entrustbus.OutcomeRevoked)(revocation(r.crashRun))
	next(entrustbus.OutcomeIssued)(tracked(r.crashRun))

	// A cancellation may overtake its order, or come after its deadline.
	for _, id := range r.holds {
		next(entrustbus.OutcomeCancelled, entrustbus.OutcomeFailed)(r.request(&entrustbus.Cancel{ID: id + "-cancel", Order: id}))
	}
	r.holds = r.holds[:0]
	want := next(entrustbus.OutcomeCancelled, entrustbus.OutcomeExpired)
	r.holds = append(r.holds, r.id)
	want(r.order("hold", seconds(2)))
}

// killLeader kills the leader of the requests, and restarts it when another server leads.
func killLeader(ctx context.Context, r *clusterRun) error {
	leader, err := r.cluster.Leader(ctx, r.site.JS, r.site.Layout.Requests, "")
	if err != nil {
		return err
	}
	leader.Kill()
	if err := r.otherLeader(ctx, r.site.Layout.Requests, leader); err != nil {
		return err
	}
	if err := leader.Restart(); err != nil {
		return err
	}
	return r.site.CaughtUp(ctx)
}

// stepDown makes the leader of every stream and consumer step down, twice.
func stepDown(ctx context.Context, r *clusterRun) error {
	l := r.site.Layout
	groups := []string{
		"STREAM.LEADER.STEPDOWN." + l.Requests, "STREAM.LEADER.STEPDOWN." + l.Parked, "STREAM.LEADER.STEPDOWN." + l.Results,
		"STREAM.LEADER.STEPDOWN." + l.Dead, "STREAM.LEADER.STEPDOWN.KV_" + l.Orders, "STREAM.LEADER.STEPDOWN.KV_" + l.Control,
		"CONSUMER.LEADER.STEPDOWN." + l.Parked + "." + streams.ConsumerPoll,
	}
	for _, name := range []string{streams.ConsumerIssue, streams.ConsumerRevoke, streams.ConsumerManage} {
		groups = append(groups, "CONSUMER.LEADER.STEPDOWN."+l.Requests+"."+name)
	}
	for range 2 {
		for _, group := range groups {
			err := testbed.Until(ctx, "the server takes "+group, func() (bool, error) {
				try, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				msg, err := r.site.NATS.RequestWithContext(try, "$JS.API."+group, nil)
				if err != nil {
					return false, err
				}
				var answer struct {
					Success bool            `json:"success"`
					Error   json.RawMessage `json:"error"`
				}
				if err := json.Unmarshal(msg.Data, &answer); err != nil {
					return false, err
				}
				if !answer.Success {
					return false, fmt.Errorf("%s: %s", group, answer.Error)
				}
				return true, nil
			})
			if err != nil {
				return err
			}
			// In between, orders meet the newly elected leader.
			if err := testbed.Sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
		if err := r.site.CaughtUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rollingRestart restarts one server after the other, like an upgrade.
func rollingRestart(ctx context.Context, r *clusterRun) error {
	for _, s := range r.cluster.Servers {
		if err := s.Restart(); err != nil {
			return err
		}
		if err := r.site.CaughtUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

// partitionServer freezes the leader of the ledger until another server leads. When it
// continues, it still believes that it leads.
func partitionServer(ctx context.Context, r *clusterRun) error {
	ledger := "KV_" + r.site.Layout.Orders
	leader, err := r.cluster.Leader(ctx, r.site.JS, ledger, "")
	if err != nil {
		return err
	}
	if !leader.Freeze(true) {
		return fmt.Errorf("%s cannot be frozen", leader.Name)
	}
	err = r.otherLeader(ctx, ledger, leader)
	leader.Freeze(false)
	if err != nil {
		return err
	}
	return r.site.CaughtUp(ctx)
}

// partitionWorker cuts the second worker off the network for longer than an ack wait. Its
// in-flight messages go to the first worker too. Everything that it sent or was sent
// meanwhile is lost.
func partitionWorker(ctx context.Context, r *clusterRun) error {
	for _, l := range r.links {
		l.Refuse(true)
		l.Stall(true)
	}
	err := testbed.Sleep(ctx, r.site.AckWait+2*time.Second)
	for _, l := range r.links {
		l.Cut()
		l.Heal()
	}
	return err
}

// otherLeader waits until a server other than old leads the stream.
func (r *clusterRun) otherLeader(ctx context.Context, stream string, old *testbed.Server) error {
	return testbed.Until(ctx, stream+" has another leader", func() (bool, error) {
		now, err := r.cluster.Leader(ctx, r.site.JS, stream, "")
		return err == nil && now != old, err
	})
}
