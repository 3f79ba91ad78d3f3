package interleave

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// life is one kind of order.
type life struct {
	name string
	// begin publishes the order. The order is the first of the published ones.
	begin func(*bubble, string) ([]*oracle.Order, error)
	want  entrustbus.Outcome
	// enrolls says that the gateway enrolls the order if it is asked once.
	enrolls bool
	// atOnce says that the gateway decides immediately and certifies the requested
	// content.
	atOnce bool
}

// gatewayConfig is the configuration of the gateway in all runs.
func gatewayConfig(d gatewaytest.Dialect) gatewaytest.Config {
	return gatewaytest.Config{Dialect: d, ApproveAfter: time.Second, Faults: []gatewaytest.Fault{
		{Kind: gatewaytest.FaultStatus, Op: gatewaytest.OpEnroll, CNPrefix: "busy-", Status: 503, PerOrder: 1},
		{Kind: gatewaytest.FaultStatus, Op: gatewaytest.OpEnroll, CNPrefix: "bad-", Status: 400, Message: "no such profile"},
		{Kind: gatewaytest.FaultWrongKey, Op: gatewaytest.OpEnroll, CNPrefix: "wrong-"},
	}}
}

// lives are all kinds of orders. Each has one outcome without faults.
func lives() []life {
	return []life{
		{"issued at once", ordered("issue", 0), entrustbus.OutcomeIssued, true, true},
		{"not taken at first", ordered("busy", 0), entrustbus.OutcomeIssued, true, true},
		{"pending", ordered("pending", 0), entrustbus.OutcomeIssued, true, false},
		{"declined", ordered("decline", 0), entrustbus.OutcomeRejected, true, false},
		{"rejected at once", ordered("reject", 0), entrustbus.OutcomeRejected, true, false},
		{"expired", ordered("hold", time.Second), entrustbus.OutcomeExpired, true, false},
		{"refused", ordered("bad", 0), entrustbus.OutcomeFailed, false, true},
		{"wrong certificate", ordered("wrong", 0), entrustbus.OutcomeFailed, true, false},
		{"invalid", ordered("issue", 60*24*time.Hour), entrustbus.OutcomeFailed, false, true},
		{"revocation", revocation, entrustbus.OutcomeRevoked, false, true},
		{"tracked", tracked, entrustbus.OutcomeIssued, false, false},
		{"cancelled", cancelled, entrustbus.OutcomeCancelled, true, false},
	}
}

func ordered(fate string, wait time.Duration) func(*bubble, string) ([]*oracle.Order, error) {
	return func(b *bubble, id string) ([]*oracle.Order, error) {
		o := oracle.NewIssue(id, fate)
		q := o.Request.(*entrustbus.Issue)
		q.PollMaxWaitSeconds = int64(wait / time.Second)
		if wait > entrustbus.MaxPollMaxWaitSeconds*time.Second {
			// The client refuses to send it.
			return []*oracle.Order{o}, b.site.Resend(b.t.Context(), q)
		}
		return []*oracle.Order{o}, b.site.Submit(b.t.Context(), o)
	}
}

// enrolled enrolls an order at the gateway without the worker.
func (b *bubble) enrolled(id, fate string) (gateway.Answer, []byte, error) {
	der := oracle.NewIssue(id+"-elsewhere", fate).Request.(*entrustbus.Issue).CSRDER
	hc, err := b.gw.Client()
	if err != nil {
		return gateway.Answer{}, nil, err
	}
	defer hc.CloseIdleConnections()
	client, err := gateway.New(gateway.Config{URL: b.gw.URL(), CAID: b.gw.CAID(), ProfileID: b.gw.Profile()}, hc, nil)
	if err != nil {
		return gateway.Answer{}, nil, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return gateway.Answer{}, nil, err
	}
	a, err := client.Enroll(b.t.Context(), gateway.Enrollment{CSR: csr})
	return a, der, err
}

func revocation(b *bubble, id string) ([]*oracle.Order, error) {
	a, _, err := b.enrolled(id, "issue")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		return nil, err
	}
	o := &oracle.Order{Request: &entrustbus.Revoke{ID: id, SerialDecimal: cert.SerialNumber.String(), Reason: "superseded"}}
	return []*oracle.Order{o}, b.site.Submit(b.t.Context(), o)
}

func tracked(b *bubble, id string) ([]*oracle.Order, error) {
	a, der, err := b.enrolled(id, "pending")
	if err != nil {
		return nil, err
	}
	o := &oracle.Order{Request: &entrustbus.Track{ID: id, TrackingID: a.TrackingID, CSRDER: der}}
	return []*oracle.Order{o}, b.site.Submit(b.t.Context(), o)
}

// cancelled lets a living worker park the order, and then cancels it.
func cancelled(b *bubble, id string) ([]*oracle.Order, error) {
	o := oracle.NewIssue(id, "hold")
	if err := b.site.Submit(b.t.Context(), o); err != nil {
		return nil, err
	}
	client, err := b.site.Client()
	if err != nil {
		return nil, err
	}
	if err := b.untilParked(client, id); err != nil {
		return nil, err
	}
	c := &oracle.Order{
		Request: &entrustbus.Cancel{ID: id + "-cancel", Order: id},
		Want:    []entrustbus.Outcome{entrustbus.OutcomeCancelled},
	}
	return []*oracle.Order{o, c}, b.site.Submit(b.t.Context(), c)
}

// untilParked runs a worker until the order is parked.
func (b *bubble) untilParked(client *entrustbus.Client, id string) error {
	w := b.work()
	defer w.stop()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	for rec, err := range client.Watch(ctx, id) {
		if err != nil {
			return err
		}
		if rec.Phase == entrustbus.PhaseAwaiting {
			break
		}
	}
	return nil
}

// unknown reports whether an order is indeterminate after the first happened effects of a
// life: the intent to submit was recorded, and the outcome was not.
func unknown(effects []string, happened int) bool {
	open := false
	for i, name := range effects[:happened] {
		switch name {
		case "ledger":
			open = i+1 < len(effects) && effects[i+1] == "POST"
		case "result":
			open = false
		}
	}
	return open
}
