//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// rollbackRun is one server process whose store is put back.
type rollbackRun struct {
	*testing.T
	ctx     context.Context
	server  *testbed.Server
	gw      *gatewaytest.Server
	site    *rig.Site
	workers []*testbed.Worker
}

func startRollback(t *testing.T, dialect gatewaytest.Dialect, settings rig.Settings, workers int) *rollbackRun {
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	t.Cleanup(cancel)
	r := &rollbackRun{T: t, ctx: ctx, server: testbed.StartProcess(t, permitted(t, defaultName))}
	r.gw = startGateway(t, gatewaytest.Config{Dialect: dialect})
	r.site = openSite(t, r.server, rig.Config{Gateway: r.gw, Binary: workerBinary, Settings: settings})
	for range workers {
		r.start()
	}
	return r
}

func (r *rollbackRun) start() {
	r.Helper()
	r.workers = append(r.workers, startWorker(r, r.site, nil))
}

// send publishes orders, and with wait also waits for their results.
func (r *rollbackRun) send(name string, n int, wait bool) (orders []*oracle.Order) {
	r.Helper()
	for i := range n {
		orders = append(orders, oracle.NewIssue(fmt.Sprintf("%s-%d", name, i), "issue", entrustbus.OutcomeIssued))
	}
	submit(r.ctx, r, r.site, orders...)
	if wait {
		r.await(orders)
	}
	return orders
}

func (r *rollbackRun) await(orders []*oracle.Order) {
	r.Helper()
	if missing, err := r.site.Results(r.ctx, orders...); err != nil || missing > 0 {
		r.Fatalf("%d of %d orders have no result: %v", missing, len(orders), err)
	}
	// A worker that has an answer while the store is put back publishes it again.
	if err := r.site.Oracle().Rest(r.ctx); err != nil {
		r.Fatal(err)
	}
}

// backlog publishes orders that no worker begins, and copies the store.
func (r *rollbackRun) backlog(n int) (orders []*oracle.Order, store string) {
	r.Helper()
	for _, w := range r.workers {
		w.Freeze(true)
	}
	orders = r.send("o", n, false)
	store = filepath.Join(r.TempDir(), "copy")
	r.server.Freeze(true)
	err := r.server.CopyStore(store)
	r.server.Freeze(false)
	for _, w := range r.workers {
		w.Freeze(false)
	}
	if err != nil {
		r.Fatal(err)
	}
	return orders, store
}

// putBack makes the server lose everything since the copy.
func (r *rollbackRun) putBack(store string) { r.putBackAfter(store, 0) }

// putBackAfter is putBack with a server that was away for a time.
func (r *rollbackRun) putBackAfter(store string, away time.Duration) {
	r.Helper()
	r.server.Kill()
	if err := testbed.Sleep(r.ctx, away); err != nil {
		r.Fatal(err)
	}
	if err := r.server.PutStore(store); err != nil {
		r.Fatal(err)
	}
	if err := r.server.Restart(); err != nil {
		r.Fatal(err)
	}
}

// noticed returns how many rollbacks the workers noticed.
func (r *rollbackRun) noticed(workers ...*testbed.Worker) (n int) {
	r.Helper()
	for _, w := range workers {
		log, err := os.ReadFile(w.Log)
		if err != nil {
			r.Fatal(err)
		}
		n += bytes.Count(log, []byte(`msg="the bus lost its last writes`))
	}
	return n
}

// count returns how many orders have so many enrollments, the outcome, and the flag.
func (r *rollbackRun) count(orders []*oracle.Order, enrollments int, outcome entrustbus.Outcome, flagged bool) (n int) {
	r.Helper()
	for _, o := range orders {
		res, err := r.site.Result(r.ctx, o)
		if err != nil {
			r.Fatal(err)
		}
		there, _ := r.gw.Enrollment(o.KeyHash)
		made := there.Count
		if made == enrollments && res.Outcome == outcome && res.PossibleDuplicate == flagged {
			n++
		} else {
			r.Logf("%s: %d enrollments, %s, possible duplicate %v, %+v", o.ID(), made, res.Outcome, res.PossibleDuplicate, res.Error)
		}
	}
	return n
}

// rollbackRow is the end of orders that were submitted before a rollback.
type rollbackRow struct {
	name        string
	dialect     gatewaytest.Dialect
	settings    rig.Settings
	enrollments int
	outcome     entrustbus.Outcome
	flagged     bool
}

// A copy of the store is put back under living workers. The requests in it were submitted
// since, but no record shows this. None of them is enrolled again unless on_rollback
// allows it, and then the result declares it. A restart of the server, graceful or not,
// is not a rollback.
func TestRollback(t *testing.T) {
	t.Parallel()
	const n = 15
	for _, row := range []rollbackRow{
		{"lookup", gatewaytest.CAGW, rig.Settings{}, 1, entrustbus.OutcomeIssued, false},
		{"lookup, approval never", gatewaytest.CAGW, rig.Settings{ApprovalNever: true}, 1, entrustbus.OutcomeIssued, false},
		{"hold", gatewaytest.CertCtl, rig.Settings{OnRollback: "hold", OnLostReply: "resubmit"}, 1, entrustbus.OutcomeUnconfirmed, false},
		{"resubmit", gatewaytest.CertCtl, rig.Settings{OnRollback: "resubmit"}, 2, entrustbus.OutcomeIssued, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.settings.RollbackWindow = -1 // orders after it are new
			r := startRollback(t, row.dialect, row.settings, 2)
			r.send("before", 10, true)
			for _, hard := range []bool{false, true} {
				if hard {
					r.server.Kill()
				}
				if err := r.server.Restart(); err != nil {
					t.Fatal(err)
				}
				r.send(fmt.Sprintf("restart-%v", hard), 10, true)
			}
			if found := r.noticed(r.workers...); found != 0 {
				t.Errorf("%d rollbacks were found where the server was restarted", found)
			}

			orders, store := r.backlog(n)
			r.await(orders)
			r.putBack(store)
			r.await(orders)
			if got := r.count(orders, row.enrollments, row.outcome, row.flagged); got != n {
				t.Errorf("%d of %d orders ended as %s with %d enrollments, flagged %v", got, n, row.outcome, row.enrollments, row.flagged)
			}
			if found := r.noticed(r.workers...); found < 1 {
				t.Error("no worker noticed the rollback")
			}
			after := r.send("after", 10, true)
			if got := r.count(after, 1, entrustbus.OutcomeIssued, false); got != len(after) {
				t.Errorf("%d of %d orders that came after the rollback ended as usual", got, len(after))
			}
		})
	}
}

// A request that the bus lost, and that its producer publishes again, may have been
// submitted too. Every worker handles it according to on_rollback, not only the worker
// that noticed the rollback.
func TestRequestsLostInARollback(t *testing.T) {
	t.Parallel()
	const n = 15
	for _, row := range []rollbackRow{
		{"lookup", gatewaytest.CAGW, rig.Settings{}, 1, entrustbus.OutcomeIssued, false},
		{"lookup, approval never", gatewaytest.CAGW, rig.Settings{ApprovalNever: true}, 1, entrustbus.OutcomeIssued, false},
		{"nothing to look up in", gatewaytest.CertCtl, rig.Settings{OnLostReply: "resubmit"}, 1, entrustbus.OutcomeUnconfirmed, false},
		{"resubmit", gatewaytest.CertCtl, rig.Settings{OnRollback: "resubmit"}, 2, entrustbus.OutcomeIssued, true},
		{"no window", gatewaytest.CertCtl, rig.Settings{RollbackWindow: -1}, 2, entrustbus.OutcomeIssued, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := startRollback(t, row.dialect, row.settings, 2)
			r.send("before", 10, true)
			_, store := r.backlog(1)
			lost := r.send("lost", n, true)
			r.putBack(store)
			if err := testbed.Until(r.ctx, "a worker notices", func() (bool, error) { return r.noticed(r.workers...) > 0, nil }); err != nil {
				t.Fatal(err)
			}
			submit(r.ctx, r, r.site, lost...)
			r.await(lost)
			if got := r.count(lost, row.enrollments, row.outcome, row.flagged); got != n {
				t.Errorf("%d of %d orders ended as %s with %d enrollments, flagged %v", got, n, row.outcome, row.enrollments, row.flagged)
			}
		})
	}
}

// A server that was away for minutes has no presences of workers. A worker that lost no
// write of its own still waits for the others' presences.
func TestRollbackAfterALongOutage(t *testing.T) {
	t.Parallel()
	r := startRollback(t, gatewaytest.CAGW, rig.Settings{RollbackWindow: -1}, 2)
	r.send("before", 10, true)
	orders, store := r.backlog(10)
	// The second worker gets none of the orders, so that it loses nothing.
	r.workers[1].Freeze(true)
	r.await(orders)
	r.server.Kill()
	r.workers[1].Freeze(false)
	r.putBackAfter(store, 20*time.Second)
	r.await(orders)
	if got := r.count(orders, 1, entrustbus.OutcomeIssued, false); got != len(orders) {
		t.Errorf("%d of %d orders were adopted", got, len(orders))
	}
}

// A worker that starts later uses the rollback that another worker noticed.
func TestRollbackIsKept(t *testing.T) {
	t.Parallel()
	r := startRollback(t, gatewaytest.CAGW, rig.Settings{OnRollback: "hold"}, 1)
	orders, store := r.backlog(10)
	r.await(orders)
	first := r.workers[0]
	first.Freeze(true)
	r.putBack(store)
	// It may have received the requests already, but reads none of them.
	first.Freeze(false)
	if err := testbed.Until(r.ctx, "the worker notices", func() (bool, error) { return r.noticed(first) == 1, nil }); err != nil {
		t.Fatal(err)
	}
	first.Kill()
	r.start()
	r.await(orders)
	if got := r.count(orders, 1, entrustbus.OutcomeUnconfirmed, false); got != len(orders) {
		t.Errorf("%d of %d orders were held", got, len(orders))
	}
	if found := r.noticed(r.workers[1]); found != 0 {
		t.Errorf("the second worker found %d rollbacks of its own", found)
	}
}

// With state_dir a worker notices at its start that the bus lost writes while no worker
// ran.
func TestRollbackWhileNoWorkerRuns(t *testing.T) {
	t.Parallel()
	r := startRollback(t, gatewaytest.CAGW, rig.Settings{StateDir: t.TempDir()}, 1)
	orders, store := r.backlog(10)
	r.await(orders)
	if err := r.workers[0].Stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	r.putBack(store)
	r.start()
	r.await(orders)
	if got := r.count(orders, 1, entrustbus.OutcomeIssued, false); got != len(orders) {
		t.Errorf("%d of %d orders were adopted", got, len(orders))
	}
	if found := r.noticed(r.workers[1]); found != 1 {
		t.Errorf("%d rollbacks were noticed, want 1", found)
	}
}
