//go:build integration

package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// NATS is away for longer than the order lease while two living workers have answers of
// the gateway. A definite answer wins over an undecided record.
func TestServerAwayLongerThanTheLease(t *testing.T) {
	t.Parallel()
	const n = 40
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	t.Cleanup(cancel)
	server := testbed.StartProcess(t, permitted(t, defaultName))
	gw := startGateway(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl, ApproveAfter: time.Hour, Latency: 1500 * time.Millisecond})
	site := openSite(t, server, rig.Config{Gateway: gw, Binary: workerBinary, Settings: rig.Settings{PollFirst: 20 * time.Second, PollMax: 30 * time.Second}})
	startWorker(t, site, nil)
	startWorker(t, site, nil)
	var orders []*oracle.Order
	for i := range n {
		orders = append(orders, oracle.NewIssue(fmt.Sprintf("away-%d", i), "pending", entrustbus.OutcomeIssued))
	}
	submit(ctx, t, site, orders...)
	if err := testbed.Until(ctx, "the gateway has orders", func() (bool, error) { return len(gw.Enrollments()) >= n/4, nil }); err != nil {
		t.Fatal(err)
	}
	server.Freeze(true)
	err := testbed.Sleep(ctx, 8*time.Second)
	server.Freeze(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := testbed.Until(ctx, "no request is left", func() (bool, error) {
		left, err := oracle.Messages(ctx, site.JS, site.Layout.Requests)
		return err == nil && left == 0, err
	}); err != nil {
		t.Fatal(err)
	}
	if err := testbed.Sleep(ctx, 6*time.Second); err != nil {
		t.Fatal(err)
	}
	ended, err := oracle.Messages(ctx, site.JS, site.Layout.Results)
	if err != nil {
		t.Fatal(err)
	}
	if ended != 0 {
		t.Errorf("%d of %d orders ended while the gateway has them, and a living worker knew", ended, n)
	}
}
