//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// A worker dies around a record of the audit trail. Another worker finishes the order,
// and the trail contains it. A record that was already written is repeated.
func TestDeathAroundTheAuditRecord(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t)
	gw := startGateway(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl, ApproveAfter: time.Second, Faults: crashFaults})
	for n, row := range []struct {
		name  string
		begin func(*crashRun) *oracle.Order
		death death
		want  []string // decisions in the trail, sorted
	}{
		{"issued", issueAs("issue"), death{"result.after", 1, issuedOnce}, []string{"issued"}},
		{"issued", issueAs("issue"), death{"audit.before", 1, issuedOnce}, []string{"issued"}},
		{"issued", issueAs("issue"), death{"audit.after", 1, issuedOnce}, []string{"issued", "issued"}},
		{"issued", issueAs("issue"), death{"closed.before", 1, issuedOnce}, []string{"issued", "issued"}},
		{"pending", issueAs("pending"), death{"audit.before", 1, issuedOnce}, []string{"issued"}},
		{"pending", issueAs("pending"), death{"audit.after", 1, issuedOnce}, []string{"issued", "submitted"}},
		{"pending", issueAs("pending"), death{"audit.before", 2, issuedOnce}, []string{"issued", "submitted"}},
		{"rejected", issueAs("reject"), death{"audit.before", 1, rejectedOnce}, []string{"rejected"}},
		{"revoked", revocation, death{"audit.before", 1, revokedOnce}, []string{"revoked"}},
	} {
		t.Run(fmt.Sprintf("%s/%s %d", row.name, row.death.failpoint, row.death.pass), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			name := fmt.Sprintf("trail%d", n)
			r := &crashRun{T: t, ctx: ctx, gw: gw, id: name}
			r.site = openSite(t, server, rig.Config{
				Name: name, Gateway: gw, Binary: mortalBinary, Audited: true, Settings: rig.Settings{Dialect: string(gatewaytest.CertCtl)},
			})
			o := row.begin(r)
			o.Want = []entrustbus.Outcome{row.death.want.outcome}
			r.die(row.death)
			w := startWorker(t, r.site, nil)
			check(ctx, t, r.site, r.orders)
			r.compare(o, row.death.want)
			if err := w.Stop(20 * time.Second); err != nil {
				t.Error(err)
			}
			r.trail(row.want)
		})
	}
}

// trail checks the audit trail of a site with one order.
func (r *crashRun) trail(want []string) {
	r.Helper()
	var v audit.Verifier
	var got []string
	for m, err := range audit.Read(r.ctx, r.site.JS, r.site.Layout.Audit, 1) {
		if err != nil {
			r.Fatal(err)
		}
		v.Add(m)
		if rec, err := audit.Decode(m.Body); err == nil && rec.Order != "" {
			got = append(got, rec.Decision)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.Errorf("the trail holds %q, want %q", got, want)
	}
	report := v.Report()
	for _, f := range report.Faults {
		r.Error(f.Error())
	}
	ended := 0
	for _, c := range report.Chains {
		if c.Ended {
			ended++
		}
	}
	if len(report.Chains) != 2 || ended != 1 {
		r.Errorf("%d chains, of which %d are ended; want 2 and 1: one worker died", len(report.Chains), ended)
	}
}
