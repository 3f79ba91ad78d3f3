package gatewaytest_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// TestFaultAnswers tries every kind that replaces the answer, over both protocols.
func TestFaultAnswers(t *testing.T) {
	t.Parallel()
	const enrolled, not = true, false
	tests := []struct {
		name     string
		fault    gatewaytest.Fault
		status   int    // 0: no complete answer may come
		contains string // in the body
		header   string // Retry-After: "" none, else a prefix
		effect   bool   // whether the order is enrolled
	}{
		{"cut", gatewaytest.Fault{Kind: gatewaytest.FaultCut}, 0, "", "", not},
		{"cut connection", gatewaytest.Fault{Kind: gatewaytest.FaultCut, WholeConnection: true}, 0, "", "", not},
		{"lost reply", gatewaytest.Fault{Kind: gatewaytest.FaultLostReply}, 0, "", "", enrolled},
		{"lost connection", gatewaytest.Fault{Kind: gatewaytest.FaultLostReply, WholeConnection: true}, 0, "", "", enrolled},
		{"half body", gatewaytest.Fault{Kind: gatewaytest.FaultHalfBody}, 0, "", "", enrolled},
		{"throttle", gatewaytest.Fault{Kind: gatewaytest.FaultThrottle}, 429, "TooManyRequests", "", not},
		{"throttle seconds", gatewaytest.Fault{Kind: gatewaytest.FaultThrottle, RetryAfter: 1500 * time.Millisecond}, 429, "TooManyRequests", "2", not},
		{"throttle date", gatewaytest.Fault{Kind: gatewaytest.FaultThrottle, RetryAfter: time.Minute, RetryAfterDate: true}, 429, "", "S|M|T|W|F", not},
		{"throttle nonsense", gatewaytest.Fault{Kind: gatewaytest.FaultThrottle, RetryAfter: -1}, 429, "", "soon", not},
		{"500 json", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Code: "cagw-5999"}, 500, `"cagw-5999"`, "", not},
		{"501 json", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 501}, 501, "ErrorResponse", "", not},
		{"502 html", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 502, Form: "html"}, 502, "<h1>502 Bad Gateway</h1>", "", not},
		{"503 text", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 503, Form: "text", RetryAfter: time.Second}, 503, "Service Unavailable", "1", not},
		{"504 after effect", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 504, Form: "empty", AfterEffect: true}, 504, "", "", enrolled},
		{"400", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 400, Code: "cagw-4100", Message: "no"}, 400, `"message":"no"`, "", not},
		{"401", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 401}, 401, "ErrorResponse", "", not},
		{"404", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 404, Code: "cagw-4018"}, 404, "cagw-4018", "", not},
		{"licence", gatewaytest.Fault{Kind: gatewaytest.FaultLicence}, 403, "licensed", "", not},
		{"redirect", gatewaytest.Fault{Kind: gatewaytest.FaultRedirect}, 307, "", "", not},
		{"garbage", gatewaytest.Fault{Kind: gatewaytest.FaultGarbage}, 200, "enrollment", "", enrolled},
		{"empty body", gatewaytest.Fault{Kind: gatewaytest.FaultEmptyBody}, 200, "", "", enrolled},
		{"huge body", gatewaytest.Fault{Kind: gatewaytest.FaultHugeBody}, 200, "xxxxx", "", enrolled},
	}
	for _, http1 := range []bool{false, true} {
		for _, tt := range tests {
			name := tt.name
			if http1 {
				name += " over HTTP/1.1"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tt.fault.Op, tt.fault.Times = gatewaytest.OpEnroll, 1
				e := setup(t, gatewaytest.Config{
					Dialect: gatewaytest.CAGW, HTTP1Only: http1, Faults: []gatewaytest.Fault{tt.fault},
				})
				csr := csrOf(t, "a.example.net")
				r, err := e.ask("POST", e.ca("/enrollments"), request(csr))
				if tt.status == 0 {
					if err == nil {
						t.Fatalf("got %d %s, want no answer", r.status, r.body)
					}
				} else if err != nil {
					t.Fatal(err)
				} else {
					if r.status != tt.status || !strings.Contains(string(r.body), tt.contains) {
						t.Errorf("got %d %.80q, want %d with %q", r.status, r.body, tt.status, tt.contains)
					}
					got := r.header.Get("Retry-After")
					fits := slices.ContainsFunc(strings.Split(tt.header, "|"), func(p string) bool { return strings.HasPrefix(got, p) })
					if !fits || tt.header == "" && got != "" {
						t.Errorf("got Retry-After %q, want %q", got, tt.header)
					}
				}
				if got := e.gw.Enrollments()[keyHash(t, csr)] == 1; got != tt.effect {
					t.Errorf("enrolled: %v, want %v", got, tt.effect)
				}
				e.enrollNested(request(csrOf(t, "b.example.net")), 200) // the rule is used up
				if f := e.gw.Faults()[0]; f.Fired != 1 {
					t.Errorf("fired %d times, want 1", f.Fired)
				}
			})
		}
	}
}

func TestFaultHang(t *testing.T) {
	t.Parallel()
	for _, effect := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := setup(t, gatewaytest.Config{InMemory: true, Faults: []gatewaytest.Fault{
				{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultHang, AfterEffect: effect},
			}})
			e.hc.Timeout = time.Minute
			if r, err := e.ask("POST", e.ca("/enrollments"), map[string]any{"csr": armour(csrOf(t, "a.example.net"))}); err == nil {
				t.Fatalf("got %d, want a timeout", r.status)
			}
			if got := e.gw.Stats().Enrolled == 1; got != effect {
				t.Errorf("enrolled: %v, want %v", got, effect)
			}
		})
	}
}

func TestFaultHugeBodyIsHuge(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{{Kind: gatewaytest.FaultHugeBody}}})
	r := e.must("GET", e.ca(""), nil, 200)
	if len(r.body) <= 4<<20 || !json.Valid(r.body) {
		t.Errorf("got %d bytes, want valid JSON of more than 4 MiB", len(r.body))
	}
}

func TestFaultResetTLS(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{{Kind: gatewaytest.FaultResetTLS, Times: 2}}})
	for range 2 {
		if r, err := e.ask("GET", e.ca(""), nil); err == nil {
			t.Fatalf("got %d, want the handshake to fail", r.status)
		}
	}
	e.must("GET", e.ca(""), nil, 200)
	if n := e.gw.Stats().TLSResets; n != 2 {
		t.Errorf("got %d resets, want 2", n)
	}
}

func TestFaultRedirectIsSeen(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{{Kind: gatewaytest.FaultRedirect, Times: 1}}})
	e.hc.CheckRedirect = nil // this client follows redirects
	e.must("GET", e.ca(""), nil, 200)
	if n := e.gw.Stats().RedirectsFollowed; n != 1 {
		t.Errorf("got %d redirects followed, want 1", n)
	}
}

// TestFaultCertificates tries every flaw of a certificate, at the enrollment and at the poll
// after an approval.
func TestFaultCertificates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind  gatewaytest.Kind
		wrong func(cert *x509.Certificate, chain []*x509.Certificate, csr *x509.CertificateRequest) bool
	}{
		{gatewaytest.FaultWrongKey, func(cert *x509.Certificate, _ []*x509.Certificate, csr *x509.CertificateRequest) bool {
			return string(cert.RawSubjectPublicKeyInfo) != string(csr.RawSubjectPublicKeyInfo)
		}},
		{gatewaytest.FaultWrongNames, func(cert *x509.Certificate, _ []*x509.Certificate, csr *x509.CertificateRequest) bool {
			return !slices.Equal(cert.DNSNames, csr.DNSNames)
		}},
		{gatewaytest.FaultExpired, func(cert *x509.Certificate, _ []*x509.Certificate, _ *x509.CertificateRequest) bool {
			return cert.NotAfter.Before(time.Now())
		}},
		{gatewaytest.FaultWrongChain, func(cert *x509.Certificate, chain []*x509.Certificate, _ *x509.CertificateRequest) bool {
			return cert.CheckSignatureFrom(chain[0]) != nil
		}},
		{gatewaytest.FaultExpiredChain, func(cert *x509.Certificate, chain []*x509.Certificate, _ *x509.CertificateRequest) bool {
			return cert.CheckSignatureFrom(chain[0]) == nil && chain[0].NotAfter.Before(time.Now())
		}},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			e := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{{
				Op: gatewaytest.OpEnroll, Kind: tt.kind, CNPrefix: "issue-bad",
			}, {
				Op: gatewaytest.OpEnroll, Kind: tt.kind, CNPrefix: "hold-bad",
			}}})
			check := func(csr []byte, got flat, want bool) {
				t.Helper()
				req, err := x509.ParseCertificateRequest(csr)
				if err != nil {
					t.Fatal(err)
				}
				cert, chain := parsePEM(t, got.Certificate)[0], parsePEM(t, got.Chain)
				if wrong := tt.wrong(cert, chain, req); wrong != want {
					t.Errorf("%s: wrong is %v, want %v", req.Subject, wrong, want)
				}
				if ok := verify(t, cert, chain) == nil && slices.Equal(cert.DNSNames, req.DNSNames); !want && !ok {
					t.Errorf("%s: not sound", req.Subject)
				}
			}
			csr := csrOf(t, "issue-bad.example.net")
			check(csr, e.enrollFlat(csr, 200), true)
			csr = csrOf(t, "issue-good.example.net")
			check(csr, e.enrollFlat(csr, 200), false)
			csr = csrOf(t, "hold-bad.example.net")
			held := e.enrollFlat(csr, 201)
			if err := e.gw.Approve(held.TrackingID); err != nil {
				t.Fatal(err)
			}
			check(csr, e.pollFlat(held.TrackingID), true)
		})
	}
}

func TestFaultOrders(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultSlowApproval, CNPrefix: "slow"},
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultReject, CNPrefix: "no"},
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultUnknownStatus, CNPrefix: "odd"},
		{Op: gatewaytest.OpPoll, Kind: gatewaytest.FaultUnknownStatus, CNPrefix: "odd", Times: 1, Word: "BAFFLED"},
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultNoCertificate, CNPrefix: "bare"},
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultDamagedCertificate, CNPrefix: "half"},
	}})
	if got := e.enrollFlat(csrOf(t, "slow.example.net"), 201); got.Status != "AWAITING_APPROVAL" {
		t.Errorf("slow: got %q", got.Status)
	}
	if got := e.enrollFlat(csrOf(t, "no.example.net"), 200); got.Status != "REJECTED" {
		t.Errorf("no: got %q", got.Status)
	}
	odd := e.enrollFlat(csrOf(t, "odd.example.net"), 201)
	if odd.Status != "UNDER_REVIEW" || odd.Certificate != "" {
		t.Errorf("odd: got %+v", odd)
	}
	if got := e.pollFlat(odd.TrackingID); got.Status != "BAFFLED" {
		t.Errorf("odd, first poll: got %q", got.Status)
	}
	if got := e.pollFlat(odd.TrackingID); got.Status != "ISSUED" || got.Certificate == "" {
		t.Errorf("odd, second poll: got %q", got.Status)
	}
	bare := e.enrollFlat(csrOf(t, "bare.example.net"), 200)
	if bare.Status != "ISSUED" || bare.Certificate != "" {
		t.Errorf("bare: got %+v", bare)
	}
	if got := e.pollFlat(bare.TrackingID); got.Certificate == "" {
		t.Error("bare: the poll has no certificate either")
	}
	half := e.enrollFlat(csrOf(t, "half.example.net"), 200)
	if whole := e.pollFlat(half.TrackingID).Certificate; half.Status != "ISSUED" || half.Certificate == "" || len(half.Certificate) >= len(whole) {
		t.Errorf("half: got %+v, then a certificate of %d characters", half, len(whole))
	}
}

func TestFaultSelection(t *testing.T) {
	t.Parallel()
	cut := func(f gatewaytest.Fault) []bool {
		t.Helper()
		f.Op, f.Kind, f.Status = gatewaytest.OpEnroll, gatewaytest.FaultStatus, 503
		e := setup(t, gatewaytest.Config{Seed: 7, Faults: []gatewaytest.Fault{f}})
		var hit []bool
		for _, name := range []string{"a", "b", "a", "b", "a", "b", "a", "b"} {
			r, err := e.ask("POST", e.ca("/enrollments"), map[string]any{"csr": armour(csrOf(t, name+".example.net"))})
			if err != nil {
				t.Fatal(err)
			}
			hit = append(hit, r.status == 503)
		}
		return hit
	}
	const x, o = true, false
	tests := []struct {
		name  string
		fault gatewaytest.Fault
		want  []bool
	}{
		{"always", gatewaytest.Fault{}, []bool{x, x, x, x, x, x, x, x}},
		{"times", gatewaytest.Fault{Times: 3}, []bool{x, x, x, o, o, o, o, o}},
		{"skip and times", gatewaytest.Fault{Skip: 2, Times: 1}, []bool{o, o, x, o, o, o, o, o}},
		{"name", gatewaytest.Fault{CNPrefix: "b"}, []bool{o, x, o, x, o, x, o, x}},
		{"per order", gatewaytest.Fault{PerOrder: 2}, []bool{x, x, x, x, o, o, o, o}},
	}
	for _, tt := range tests {
		if got := cut(tt.fault); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	// A fraction is drawn for every attempt, otherwise a retry could never succeed. The draws are
	// the same in every run.
	first := cut(gatewaytest.Fault{Fraction: 0.5})
	if !slices.Equal(first, cut(gatewaytest.Fault{Fraction: 0.5})) {
		t.Error("two runs with one seed differ")
	}
	if !slices.Contains(first, true) || !slices.Contains(first, false) {
		t.Errorf("got %v of a half, want some", first)
	}
}

func TestFaultsChange(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	id, err := e.gw.AddFault(gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 503})
	if err != nil {
		t.Fatal(err)
	}
	e.must("GET", e.ca(""), nil, 503)
	if !e.gw.RemoveFault(id) || e.gw.RemoveFault(id) {
		t.Error("a rule is to be removed once")
	}
	e.must("GET", e.ca(""), nil, 200)
	for _, bad := range []gatewaytest.Fault{
		{}, {Kind: "no"}, {Kind: gatewaytest.FaultCut, Op: "no"}, {Kind: gatewaytest.FaultStatus, Status: 99},
		{Kind: gatewaytest.FaultStatus, Form: "xml"}, {Kind: gatewaytest.FaultCut, Fraction: 2}, {Kind: gatewaytest.FaultLatency, Delay: -1},
	} {
		if err := e.gw.SetFaults(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	e.must("GET", e.ca(""), nil, 200)
	e.gw.SetDown(true)
	for range 3 {
		if r, err := e.ask("GET", e.ca(""), nil); err == nil {
			t.Fatalf("got %d while down", r.status)
		}
	}
	e.gw.SetDown(false)
	e.must("GET", e.ca(""), nil, 200)
}

func TestQuota(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Quota: 3})
	for range 3 {
		e.enrollFlat(csrOf(t, "a.example.net"), 200)
		e.must("GET", e.ca(""), nil, 200) // counted separately
	}
	r := e.must("GET", e.ca(""), nil, 429)
	if string(r.body) != "TooManyRequests" || r.header.Get("Retry-After") != "" {
		t.Errorf("got %s with %v", r.body, r.header)
	}
	e.must("POST", e.ca("/enrollments"), map[string]any{}, 429)
}

func TestLicenceCap(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, LicenceCap: 2})
	first := e.enrollNested(request(csrOf(t, "a.example.net")), 200)
	e.enrollNested(request(csrOf(t, "b.example.net")), 200)
	e.must("POST", e.ca("/enrollments"), request(csrOf(t, "c.example.net")), 403)
	e.must("POST", e.ca("/certificates/"+first.Enrollment.SerialNumber+"/actions"),
		map[string]any{"action": map[string]any{"type": "RevokeAction", "reason": "superseded"}}, 200)
	e.enrollNested(request(csrOf(t, "d.example.net")), 200) // a revocation makes room
}

func TestStranger(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	certPEM, keyPEM, err := e.gw.IssueStranger()
	if err != nil {
		t.Fatal(err)
	}
	use(t, e.hc, certPEM, keyPEM)
	e.must("GET", e.ca(""), nil, 403)

	certPEM, keyPEM, err = e.gw.IssueClient(-time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	use(t, e.hc, certPEM, keyPEM)
	if r, err := e.ask("GET", e.ca(""), nil); err == nil {
		t.Errorf("got %d with an expired pair, want the handshake to fail", r.status)
	}

	e.hc.Transport.(*http.Transport).TLSClientConfig.Certificates = nil
	e.hc.CloseIdleConnections()
	if r, err := e.ask("GET", e.ca(""), nil); err == nil {
		t.Errorf("got %d without a certificate, want the handshake to fail", r.status)
	}
}

func TestLatencyOutlivesTheClient(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLatency, Delay: 200 * time.Millisecond},
	}})
	e.hc.Timeout = 20 * time.Millisecond
	csr := csrOf(t, "a.example.net")
	// The first dial may take longer than the timeout; then no enrollment is sent.
	eventually(t, "an enrollment whose client has gone", func() error {
		_, err := e.ask("POST", e.ca("/enrollments"), map[string]any{"csr": armour(csr)})
		if err == nil {
			t.Fatal("the client had an answer before its timeout")
		}
		if e.gw.Enrollments()[keyHash(t, csr)] == 0 {
			return errors.New("not enrolled yet")
		}
		return nil
	})
}
