package gateway_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// stimulus makes the simulator, or the connection to it, give an answer of one row of the triage
// table. It also holds the wanted result.
type stimulus struct {
	fault  gatewaytest.Fault // the test sets Op
	down   bool
	lapsed bool                                                   // with an expired client certificate
	broken bool                                                   // with a key on disk that does not match the certificate
	way    func(http.RoundTripper) http.RoundTripper              // changes the answer before the client gets it
	cn     string                                                 // begins the order's common name; default by the operation
	change func(*gateway.Poll)                                    // of a poll
	ops    []gateway.Op                                           // default: those of the row
	state  gateway.State                                          // wanted
	fate   gateway.Fate                                           // wanted
	class  string                                                 // wanted of an error
	status int                                                    // wanted; 0: no answer, or any status
	orders int                                                    // how many orders the gateway has after an enrollment
	check  func(t *testing.T, a gateway.Answer, e *gateway.Error) // a further check
}

// answers is a status with the gateway's own error body.
func answers(status int, message string) gatewaytest.Fault {
	return gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: status, Message: message}
}

// foreignForm stands for every form that is not the gateway's own error body.
const foreignForm = "foreign"

// foreign is a status as another server answers it.
func foreign(status int) gatewaytest.Fault {
	return gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: status, Form: foreignForm}
}

// page is an answer of a server in front of the gateway.
func page(status int, message string) gatewaytest.Fault {
	return gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: status, Form: "html", Message: message}
}

var enroll = []gateway.Op{gateway.OpEnroll}

var notPoll = []gateway.Op{gateway.OpEnroll, gateway.OpRevoke, gateway.OpFind, gateway.OpProbe}

func afterEffect(f gatewaytest.Fault) gatewaytest.Fault {
	f.AfterEffect = true
	return f
}

// stimuli has one entry or more for each row, by its name.
var stimuli = map[string][]stimulus{
	"key pair unreadable":               {{broken: true, fate: gateway.Unauthorized, class: "auth"}},
	"client certificate refused in TLS": {{lapsed: true, fate: gateway.Unauthorized, class: "auth"}},
	"not written to its end": {
		{down: true, fate: gateway.NotAccepted, class: "network"},
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultResetTLS}, fate: gateway.NotAccepted, class: "network"},
	},
	"written, no answer": {
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultCut}, fate: gateway.Unknown, class: "network"},
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultCut, WholeConnection: true}, fate: gateway.Unknown, class: "network"},
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultLostReply}, fate: gateway.Unknown, class: "network", orders: 1},
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultHang, AfterEffect: true}, fate: gateway.Unknown, class: "timeout", orders: 1},
	},
	"2xx truncated": {
		// Half of an issued answer may hold the whole certificate, which then counts as issued.
		{cn: "hold", fault: gatewaytest.Fault{Kind: gatewaytest.FaultHalfBody}, ops: []gateway.Op{gateway.OpEnroll}, fate: gateway.Unknown, class: "network", orders: 1},
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultHalfBody}, ops: []gateway.Op{gateway.OpPoll, gateway.OpRevoke, gateway.OpFind, gateway.OpProbe},
			fate: gateway.Unknown, class: "network", orders: 1},
	},

	"2xx, rejected word":   {{cn: "reject", state: gateway.Rejected, status: 200, orders: 1}},
	"2xx, action rejected": {{way: rewriting(`"COMPLETED"`, `"REJECTED"`, `{"status":"DENIED"}`), fate: gateway.Refused, class: "policy", status: 200}},
	"2xx, certificate":     {{cn: "issue", state: gateway.Issued, status: 200, orders: 1, check: hasChain}},
	"2xx, error body":      {{fault: answers(200, "no"), fate: gateway.Refused, class: "other", status: 200, check: says("no")}},
	"2xx, licence limit":   {{fault: answers(200, "licence limit reached"), fate: gateway.Refused, class: "policy", status: 200}},
	"2xx, already revoked": {{fault: answers(200, "is already revoked"), status: 200}},
	"2xx, issued word without certificate": {{
		cn: "issue", way: rewriting(`"ACCEPTED"`, `"ISSUED"`, ``), fault: gatewaytest.Fault{Kind: gatewaytest.FaultNoCertificate},
		fate: gateway.Unreadable, class: "other", status: 200, orders: 1,
	}},
	"2xx, pending or unknown word": {
		{cn: "hold", state: gateway.Pending, orders: 1, check: hasTrackingID},
		{cn: "issue", fault: gatewaytest.Fault{Kind: gatewaytest.FaultUnknownStatus}, state: gateway.Pending, orders: 1, check: hasTrackingID},
	},
	"2xx, pending without tracking id": {{
		cn: "hold", way: rewriting(`"id":"`, `"was":"`, ``, `"trackingId":"`, `"was":"`), ops: []gateway.Op{gateway.OpEnroll},
		fate: gateway.Unreadable, class: "other", orders: 1,
	}},
	"2xx, done": {{status: 200}},
	"2xx, not understood": {
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultGarbage}, fate: gateway.Unreadable, class: "other", status: 200, orders: 1},
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultHugeBody}, fate: gateway.Unreadable, class: "other", status: 200, orders: 1, check: says("4 MiB")},
		{fault: answers(200, "log in"), fate: gateway.Unreadable, class: "other", status: 200, check: silent("log in")}, // HTML, see below
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultEmptyBody}, ops: []gateway.Op{gateway.OpEnroll, gateway.OpPoll, gateway.OpFind},
			fate: gateway.Unreadable, class: "other", orders: 1},
	},

	"2xx, CA is down": {{fault: gatewaytest.Fault{Kind: gatewaytest.FaultCADown}, fate: gateway.NotAccepted, class: "upstream_5xx", status: 200, check: says("is DOWN")}},

	"3xx": {
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultRedirect}, fate: gateway.Unknown, class: "other", status: 307},
		{fault: foreign(302), fate: gateway.Unknown, class: "other", status: 302},
		{fault: afterEffect(foreign(303)), fate: gateway.Unknown, class: "other", status: 303, orders: 1},
		{fault: afterEffect(foreign(308)), fate: gateway.Unknown, class: "other", status: 308, orders: 1},
		{fault: foreign(304), fate: gateway.Unknown, class: "other", status: 304},
	},

	"4xx, licence limit": {{fault: gatewaytest.Fault{Kind: gatewaytest.FaultLicence}, fate: gateway.Refused, class: "policy", status: 403, check: own}},
	"4xx or 5xx, already revoked": {
		{fault: answers(409, "The certificate is already revoked"), status: 409},
		{fault: answers(500, "Certificate already in the requested state"), status: 500},
	},
	"400, 403, 495, 496 about the client's certificate": {
		{fault: page(400, "The SSL certificate error"), fate: gateway.Unauthorized, class: "auth", status: 400, check: says("the client's certificate")},
		{fault: page(400, "No required SSL certificate was sent"), fate: gateway.Unauthorized, class: "auth", status: 400},
		{fault: page(403, "Reason: Cannot perform Post-Handshake Authentication."), fate: gateway.Unauthorized, class: "auth", status: 403, check: says("TLS 1.3 post-handshake authentication")},
		{fault: page(495, ""), fate: gateway.Unauthorized, class: "auth", status: 495},
		{fault: page(496, ""), fate: gateway.Unauthorized, class: "auth", status: 496},
	},
	"401": {
		{fault: foreign(401), fate: gateway.Unauthorized, class: "auth", status: 401, check: notOwn},
		{fault: answers(401, "who are you"), fate: gateway.Unauthorized, class: "auth", status: 401, check: own},
	},
	"404 within the grace": {{change: unknownOrder(time.Now()), state: gateway.Pending, status: 404}},
	"429": {
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultThrottle}, fate: gateway.Throttled, class: "rate_limited", status: 429, check: waits(10 * time.Second)},
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultThrottle, RetryAfter: 30 * time.Second}, fate: gateway.Throttled, class: "rate_limited", status: 429, check: waits(30 * time.Second)},
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultThrottle, RetryAfter: -1}, fate: gateway.Throttled, class: "rate_limited", status: 429, check: waits(10 * time.Second)},
		{fault: gatewaytest.Fault{Kind: gatewaytest.FaultThrottle, RetryAfter: 48 * time.Hour, RetryAfterDate: true}, fate: gateway.Throttled, class: "rate_limited", status: 429, check: waits(time.Hour)},
	},
	"408": {
		{fault: foreign(408), ops: notPoll, fate: gateway.Unknown, class: "timeout", status: 408, check: notOwn},
		{fault: afterEffect(answers(408, "too slow")), fate: gateway.Unknown, class: "timeout", status: 408, orders: 1, check: own},
	},

	"403, own error body": {{fault: answers(403, "not for you"), fate: gateway.Unauthorized, class: "auth", status: 403, check: own}},
	"404, 410 of an order, own error body": {
		{change: unknownOrder(time.Time{}), fate: gateway.NotFound, class: "upstream_4xx", status: 404, check: own},
		{fault: answers(410, "gone"), fate: gateway.NotFound, class: "upstream_4xx", status: 410, check: own},
	},
	"400, 422, own error body": {
		{fault: answers(400, "bad profile"), fate: gateway.Refused, class: "validation", status: 400, check: says("bad profile")},
		{fault: answers(422, "bad name"), fate: gateway.Refused, class: "validation", status: 422, check: own},
	},
	"other 4xx, own error body": {
		{fault: answers(409, "conflict"), fate: gateway.Refused, class: "upstream_4xx", status: 409, check: own},
		{fault: answers(404, "no such CA"), ops: notPoll[:3], fate: gateway.Refused, class: "upstream_4xx", status: 404},
	},
	"501, own error body": {{fault: answers(501, "no such thing"), ops: notPoll[:3], fate: gateway.Refused, class: "upstream_5xx", status: 501, check: own}},
	"503, own error body": {{fault: gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 503, RetryAfter: 20 * time.Second}, fate: gateway.NotAccepted, class: "upstream_5xx", status: 503, check: waits(20 * time.Second)}},

	// A proxy answers so before, or after, it passed the request on.
	"403, 407, not the gateway's error body": {
		{fault: foreign(403), fate: gateway.Unauthorized, class: "auth", status: 403, check: notOwn},
		{fault: foreign(407), fate: gateway.Unauthorized, class: "auth", status: 407, check: notOwn},
	},
	"4xx, 501, not the gateway's error body, of a poll": {
		{fault: foreign(404), fate: gateway.Unreadable, class: "upstream_4xx", status: 404, change: submittedLongAgo, check: notOwn},
		{fault: foreign(400), fate: gateway.Unreadable, class: "upstream_4xx", status: 400},
		{fault: foreign(410), fate: gateway.Unreadable, class: "upstream_4xx", status: 410},
		{fault: foreign(422), fate: gateway.Unreadable, class: "upstream_4xx", status: 422},
		{fault: foreign(501), fate: gateway.Unreadable, class: "upstream_4xx", status: 501, check: notOwn},
	},
	"4xx, not the gateway's error body": {
		{fault: foreign(403), ops: enroll, fate: gateway.Unknown, class: "upstream_4xx", status: 403, check: notOwn},
		{fault: afterEffect(foreign(404)), ops: enroll, fate: gateway.Unknown, class: "upstream_4xx", status: 404, orders: 1, check: says("not the gateway's error body")},
		{fault: foreign(407), ops: enroll, fate: gateway.Unknown, class: "upstream_4xx", status: 407},
		{fault: foreign(400), fate: gateway.Unknown, class: "upstream_4xx", status: 400, check: notOwn},
		{fault: foreign(404), ops: notPoll[:3], fate: gateway.Unknown, class: "upstream_4xx", status: 404},
		{fault: foreign(409), fate: gateway.Unknown, class: "upstream_4xx", status: 409},
		{fault: foreign(421), fate: gateway.Unknown, class: "upstream_4xx", status: 421},
		{fault: foreign(425), fate: gateway.Unknown, class: "upstream_4xx", status: 425},
	},
	"503, not the gateway's error body": {{fault: foreign(503), fate: gateway.NotAccepted, class: "upstream_5xx", status: 503, check: notOwn}},
	"other 5xx": {
		{fault: answers(500, ""), fate: gateway.Unknown, class: "upstream_5xx", status: 500},
		{fault: foreign(500), fate: gateway.Unknown, class: "upstream_5xx", status: 500},
		{fault: foreign(501), ops: notPoll[:3], fate: gateway.Unknown, class: "upstream_5xx", status: 501},
		{fault: afterEffect(foreign(502)), fate: gateway.Unknown, class: "upstream_5xx", status: 502, orders: 1},
		{fault: afterEffect(foreign(503)), ops: enroll, fate: gateway.Unknown, class: "upstream_5xx", status: 503, orders: 1, check: notOwn},
		{fault: foreign(504), fate: gateway.Unknown, class: "upstream_5xx", status: 504},
	},
	"any other status": {{fault: afterEffect(foreign(777)), fate: gateway.Unknown, class: "other", status: 777, orders: 1}},
}

// elsewhere are the rows that need more than a status or a cut connection. Each has its own test.
var elsewhere = []string{
	"abandoned before its last byte",                                  // TestLastByte
	"not processed, says HTTP/2",                                      // TestNotProcessed
	"TLS renegotiation, or certificate asked for after the handshake", // TestRenegotiation
	"answered before it was written to its end",                       // TestAnsweredEarly
}

// TestTriageAgainstTheSimulator runs every row of the triage table over mutual TLS in
// both dialects, for each operation of the row. For enrollments it also asks the simulator what
// it accepted: an accepted enrollment must never get a fate that lets the caller send it again.
func TestTriageAgainstTheSimulator(t *testing.T) {
	t.Parallel()
	rows, ops := gateway.TriageRows()
	for name := range stimuli {
		if !slices.Contains(rows, name) {
			t.Errorf("there is no row %q", name)
		}
	}
	for _, way := range []struct {
		name    string
		dialect gatewaytest.Dialect
		http1   bool
	}{
		{"certctl", gatewaytest.CertCtl, false}, {"cagw", gatewaytest.CAGW, false},
		{"certctl over HTTP 1.1", gatewaytest.CertCtl, true}, {"cagw over HTTP 1.1", gatewaytest.CAGW, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t, gatewaytest.Config{Dialect: way.dialect, HTTP1Only: way.http1})
			for _, name := range rows {
				if len(stimuli[name]) == 0 && !slices.Contains(elsewhere, name) {
					t.Errorf("row %q is not run", name)
				}
				for i, st := range stimuli[name] {
					if way.http1 && st.fault.Kind == gatewaytest.FaultStatus {
						continue // a status does not depend on the protocol; the end of a connection does
					}
					if st.ops == nil {
						st.ops = ops[name]
					}
					for _, op := range st.ops {
						if st.fault.Kind == gatewaytest.FaultCADown && way.dialect != gatewaytest.CAGW {
							continue // it has no status of a CA
						}
						if op == gateway.OpPoll && name == "4xx, not the gateway's error body" {
							continue // has its own row
						}
						if op == gateway.OpFind && way.dialect != gatewaytest.CAGW {
							continue // it has no look-up
						}
						if way.http1 && st.fault.Kind == gatewaytest.FaultHalfBody && op == gateway.OpRevoke && way.dialect == gatewaytest.CertCtl {
							continue // a 204 has no body to truncate
						}
						for _, form := range forms(st.fault, name) {
							st.fault.Form = form
							t.Run(fmt.Sprintf("%s/%d%s/%s", name, i, form, op), func(t *testing.T) { sim.run(t, op, st) })
						}
					}
				}
			}
		})
	}
}

// forms are the bodies with which the test tries a status, and an answer that is not understood.
func forms(f gatewaytest.Fault, row string) []string {
	switch {
	case f.Form == foreignForm:
		return []string{"text", "html", "empty", "spring", "other"}
	case row == "2xx, not understood" && f.Kind == gatewaytest.FaultStatus:
		return []string{"html", "text"}
	}
	return []string{f.Form}
}

var faultOps = map[gateway.Op]gatewaytest.Op{
	gateway.OpEnroll: gatewaytest.OpEnroll, gateway.OpPoll: gatewaytest.OpPoll, gateway.OpRevoke: gatewaytest.OpRevoke,
	gateway.OpFind: gatewaytest.OpEvents, gateway.OpProbe: gatewaytest.OpCA,
}

// run applies the stimulus to the operation and checks the result.
func (s *simulator) run(t *testing.T, op gateway.Op, st stimulus) {
	perform, csr := s.prepare(t, op, st)
	c := s.client(t, st.way, st.lapsed)
	switch {
	case st.fault.Kind == gatewaytest.FaultHang:
		c = s.impatient(t)
	case st.broken:
		c = s.withBrokenPair(t)
	}
	if st.fault.Kind != "" {
		if st.fault.Op = faultOps[op]; st.fault.Kind == gatewaytest.FaultResetTLS {
			st.fault.Op = gatewaytest.OpConnect
		}
		if err := s.gw.SetFaults(st.fault); err != nil {
			t.Fatal(err)
		}
	}
	s.gw.SetDown(st.down)
	a, err := perform(c)
	// A write to a closed connection makes the kernel drop the alert unread. The gateway accepted
	// nothing then either, and the error of the next call has the reason.
	for range 4 {
		if !st.lapsed || gateway.FateOf(err) != gateway.NotAccepted {
			break
		}
		a, err = perform(c)
	}
	s.gw.SetDown(false)
	for _, f := range s.gw.Faults() {
		if f.Fired == 0 {
			t.Errorf("the fault %s never fired", f.Kind)
		}
	}
	if err := s.gw.SetFaults(); err != nil {
		t.Fatal(err)
	}

	if a.State != st.state || gateway.FateOf(err) != st.fate {
		t.Fatalf("got %v and %v, want %v and %v", a.State, err, st.state, st.fate)
	}
	e, _ := errors.AsType[*gateway.Error](err)
	switch {
	case e != nil && (e.Class != st.class || e.Op != op || e.HTTPStatus != st.status && st.status != 0):
		t.Errorf("got %+v, want class %q and status %d", e, st.class, st.status)
	case e == nil && a.State != 0 && a.HTTPStatus != st.status && st.status != 0:
		t.Errorf("got status %d, want %d", a.HTTPStatus, st.status)
	}
	if e != nil && strings.Contains(fmt.Sprintf("%+v", *e), "backend") {
		t.Errorf("details of the error body got through: %+v", *e)
	}
	if st.check != nil {
		st.check(t, a, e)
	}
	if op == gateway.OpEnroll && e != nil {
		// Too many submissions are better than too few.
		if sent := e.HTTPStatus != 0 || e.Fate == gateway.Unknown; sent && !e.Written || st.down && e.Written {
			t.Errorf("Written = %v of %v", e.Written, e)
		}
	}
	if op == gateway.OpEnroll {
		got := s.gw.Enrollments()[gatewaytest.KeyHash(csr.RawSubjectPublicKeyInfo)]
		if got != st.orders {
			t.Errorf("the gateway holds %d orders of this key, want %d", got, st.orders)
		}
	}
	if n := s.gw.Stats().RedirectsFollowed; n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// impatient is a client with a short timeout for a gateway that hangs. It opens its connection
// first, so that the timeout covers only the wait for the answer.
func (s *simulator) impatient(t *testing.T) *gateway.Client {
	t.Helper()
	hc, err := s.gw.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hc.CloseIdleConnections)
	cfg := gateway.Config{URL: s.gw.URL(), CAID: s.gw.CAID(), ProfileID: s.gw.Profile(), Dialect: s.dialect}
	patient, err := gateway.New(cfg, hc, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := patient.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.EnrollTimeout, cfg.Timeout = time.Second, time.Second
	c, err := gateway.New(cfg, hc, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// prepare creates the order for the operation with a working client. It returns the operation and
// the CSR.
func (s *simulator) prepare(t *testing.T, op gateway.Op, st stimulus) (func(*gateway.Client) (gateway.Answer, error), *x509.CertificateRequest) {
	t.Helper()
	cn := st.cn
	if cn == "" {
		cn = map[gateway.Op]string{gateway.OpPoll: "hold"}[op]
	}
	if cn == "" {
		cn = "issue"
	}
	if op == gateway.OpEnroll {
		csr := s.newCSR(t, cn)
		return func(c *gateway.Client) (gateway.Answer, error) {
			return c.Enroll(t.Context(), gateway.Enrollment{CSR: csr})
		}, csr
	}
	if op == gateway.OpProbe {
		return func(c *gateway.Client) (gateway.Answer, error) { return gateway.Answer{}, c.Probe(t.Context()) }, nil
	}
	prefix := cn
	if op == gateway.OpPoll {
		prefix = "hold" // the test decides the order by hand
	}
	csr := s.newCSR(t, prefix)
	since := time.Now()
	// A new client: an earlier stimulus may have broken the connections of the others.
	order, err := s.client(t, nil, false).Enroll(t.Context(), gateway.Enrollment{CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	switch op {
	case gateway.OpPoll:
		switch cn {
		case "issue":
			err = s.gw.Approve(order.TrackingID)
		case "reject":
			err = s.gw.Reject(order.TrackingID)
		}
		if err != nil {
			t.Fatal(err)
		}
		poll := gateway.Poll{TrackingID: order.TrackingID, SubmittedAt: since, CSR: func() *x509.CertificateRequest { return csr }}
		if st.change != nil {
			st.change(&poll)
		}
		return func(c *gateway.Client) (gateway.Answer, error) { return c.Poll(t.Context(), poll) }, csr
	case gateway.OpRevoke:
		cert, err := x509.ParseCertificate(order.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		return func(c *gateway.Client) (gateway.Answer, error) {
			return gateway.Answer{}, c.Revoke(t.Context(), gateway.Revocation{Serial: cert.SerialNumber, Reason: "superseded"})
		}, csr
	}
	return func(c *gateway.Client) (gateway.Answer, error) {
		a, found, err := c.Find(t.Context(), gateway.Search{CSR: csr, Since: since})
		if err == nil && (!found || !bytes.Equal(a.Certificate, order.Certificate)) {
			t.Error("the certificate was not found")
		}
		return gateway.Answer{}, err
	}, csr
}

// unknownOrder makes a poll ask for an order that the gateway does not have.
func unknownOrder(submitted time.Time) func(*gateway.Poll) {
	return func(p *gateway.Poll) { p.TrackingID, p.SubmittedAt = "none", submitted }
}

func submittedLongAgo(p *gateway.Poll) { p.SubmittedAt = time.Time{} }

func hasChain(t *testing.T, a gateway.Answer, _ *gateway.Error) {
	if len(a.Chain) == 0 {
		t.Error("the certificate came without its chain")
	}
	if _, err := gateway.CheckIssued(a, gateway.Expectation{AnyKey: true}); err != nil {
		t.Error(err)
	}
}

func own(t *testing.T, _ gateway.Answer, e *gateway.Error) {
	if !e.Own {
		t.Errorf("%v does not count as the gateway's error body", e)
	}
}

func notOwn(t *testing.T, _ gateway.Answer, e *gateway.Error) {
	if e.Own {
		t.Errorf("%v counts as the gateway's error body", e)
	}
}

func hasTrackingID(t *testing.T, a gateway.Answer, _ *gateway.Error) {
	if a.TrackingID == "" {
		t.Error("a pending order without a tracking id")
	}
}

func says(text string) func(*testing.T, gateway.Answer, *gateway.Error) {
	return func(t *testing.T, _ gateway.Answer, e *gateway.Error) {
		if !strings.Contains(e.Message, text) {
			t.Errorf("message %q, want %q in it", e.Message, text)
		}
	}
}

func silent(text string) func(*testing.T, gateway.Answer, *gateway.Error) {
	return func(t *testing.T, _ gateway.Answer, e *gateway.Error) {
		if strings.Contains(e.Error(), text) {
			t.Errorf("%q shows %q of the body", e.Error(), text)
		}
	}
}

func waits(d time.Duration) func(*testing.T, gateway.Answer, *gateway.Error) {
	return func(t *testing.T, _ gateway.Answer, e *gateway.Error) {
		if e.RetryAfter != d {
			t.Errorf("RetryAfter = %s, want %s", e.RetryAfter, d)
		}
	}
}

// transport is an http.RoundTripper made of a function.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// withBrokenPair is a client whose key file was replaced by another key after its start.
func (s *simulator) withBrokenPair(t *testing.T) *gateway.Client {
	t.Helper()
	certPEM, keyPEM, err := s.gw.IssueClient(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	m := s.mutual(t, certPEM, keyPEM, func(cfg *mtlscache.Config) { cfg.HalfRotationWait = -1 })
	_, other, err := s.gw.IssueClient(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, m.key, other)
	return m.Client
}

// rewriting replaces text in the body of an answer. The third text replaces an empty body, as in
// the certctl dialect's revocation.
func rewriting(old, with, whole string, more ...string) func(http.RoundTripper) http.RoundTripper {
	replace := strings.NewReplacer(append([]string{old, with}, more...)...)
	return func(rt http.RoundTripper) http.RoundTripper {
		return transport(func(r *http.Request) (*http.Response, error) {
			resp, err := rt.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return nil, err
			}
			text := replace.Replace(string(body))
			if whole != "" && !json.Valid(body) {
				resp.StatusCode, text = http.StatusOK, whole
			}
			resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			return resp, nil
		})
	}
}
