//go:build integration

package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/integration/harness"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/natstest"
)

// Three servers, each a process of its own, streams with three replicas, and two
// workers. Orders of every kind flow and are parked while the cluster loses its
// leaders, its servers and its network. What is left is judged after each
// disturbance: nothing lost, nothing enrolled or told twice, nothing polled early.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cluster := natstest.StartProcessCluster(t, 3)
	gw := startGateway(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl, ApproveAfter: 2 * time.Second})
	site := openSite(t, nil, harness.Config{
		Name: "cluster", NATS: cluster.Conn(t), WorkerNATS: cluster.URL(), Replicas: 3, Gateway: gw, Binary: workerBinary,
	})
	startWorker(t, site, nil)
	startWorker(t, site, nil)

	var orders []*harness.Order
	for i := range 40 {
		orders = append(orders, harness.NewIssue(fmt.Sprintf("calm-%d", i), [...]string{"issue", "pending"}[i%2], entrustbus.OutcomeIssued))
	}
	submit(ctx, t, site, orders...)
	t.Log(judge(ctx, t, site, orders))
}
