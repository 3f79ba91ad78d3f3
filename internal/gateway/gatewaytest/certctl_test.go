package gatewaytest_test

import (
	"crypto/ecdsa"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

func TestFlatIssuedAtOnce(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	csr, key := newCSR(t, "shop.example.net", "www.example.net")
	got := e.enrollFlat(csr, 200)
	if got.Status != "ISSUED" || got.TrackingID == "" {
		t.Fatalf("got %q with tracking id %q, want ISSUED with one", got.Status, got.TrackingID)
	}
	cert, chain := parsePEM(t, got.Certificate)[0], parsePEM(t, got.Chain)
	if err := verify(t, cert, chain); err != nil {
		t.Errorf("chain: %v", err)
	}
	if len(chain) != 2 {
		t.Errorf("got a chain of %d, want intermediate and root", len(chain))
	}
	if !cert.PublicKey.(*ecdsa.PublicKey).Equal(key.Public()) {
		t.Error("the certificate's key is not the request's")
	}
	if want := []string{"shop.example.net", "www.example.net"}; !slices.Equal(cert.DNSNames, want) {
		t.Errorf("got names %q, want %q", cert.DNSNames, want)
	}
	if cert.Subject.CommonName != "shop.example.net" {
		t.Errorf("got subject %q", cert.Subject)
	}
	again := e.pollFlat(got.TrackingID)
	if again != got {
		t.Errorf("the poll answers otherwise than the enrollment: %+v, %+v", again, got)
	}
	if n := e.gw.Enrollments()[keyHash(t, csr)]; n != 1 {
		t.Errorf("got %d enrollments of the key, want 1", n)
	}
}

func TestFlatNamesAreTyped(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	var names []map[string]string
	for _, n := range []string{"a.example.net", "192.0.2.7", "2001:db8::1", "ops@example.net", "spiffe://example.net/x"} {
		names = append(names, map[string]string{"type": "dNSName", "value": n})
	}
	body := map[string]any{"csr": armour(csrOf(t, "other.example.net")), "subjectAltNames": names}
	cert := parsePEM(t, decode[flat](t, e.must("POST", e.ca("/enrollments"), body, 200)).Certificate)[0]
	switch {
	case !slices.Equal(cert.DNSNames, []string{"a.example.net"}):
		t.Errorf("DNS names: %q", cert.DNSNames)
	case len(cert.IPAddresses) != 2 || !cert.IPAddresses[0].Equal(net.ParseIP("192.0.2.7")):
		t.Errorf("addresses: %v", cert.IPAddresses)
	case !slices.Equal(cert.EmailAddresses, []string{"ops@example.net"}):
		t.Errorf("e-mail addresses: %q", cert.EmailAddresses)
	case len(cert.URIs) != 1 || cert.URIs[0].String() != "spiffe://example.net/x":
		t.Errorf("URIs: %v", cert.URIs)
	}
}

func TestFlatPending(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{RecordPolls: true})
	yes := e.enrollFlat(csrOf(t, "pending-a.example.net"), 201)
	no := e.enrollFlat(csrOf(t, "hold-b.example.net"), 201)
	for _, o := range []flat{yes, no} {
		if o.Status != "AWAITING_APPROVAL" || o.Certificate != "" {
			t.Fatalf("got %+v, want it pending", o)
		}
		if got := e.pollFlat(o.TrackingID); got.Status != "AWAITING_APPROVAL" {
			t.Errorf("first poll: got %q", got.Status)
		}
	}
	if err := errors.Join(e.gw.Approve(yes.TrackingID), e.gw.Reject(no.TrackingID)); err != nil {
		t.Fatal(err)
	}
	if got := e.pollFlat(yes.TrackingID); got.Status != "ISSUED" || got.Certificate == "" {
		t.Errorf("approved: got %q", got.Status)
	}
	if got := e.pollFlat(no.TrackingID); got.Status != "REJECTED" || got.Certificate != "" {
		t.Errorf("rejected: got %q", got.Status)
	}
	if err := e.gw.Approve(no.TrackingID); !errors.Is(err, gatewaytest.ErrEnded) {
		t.Errorf("approving an order that has ended: got %v, want ErrEnded", err)
	}
	if err := e.gw.Approve("ENR-0000000000000000-1"); !errors.Is(err, gatewaytest.ErrNoOrder) {
		t.Errorf("approving an unknown order: got %v, want ErrNoOrder", err)
	}
	e.pollFlat(yes.TrackingID)
	p, err := e.gw.PollsOf(yes.TrackingID)
	if err != nil {
		t.Fatal(err)
	}
	if p.Count != 3 || p.AfterEnd != 1 || len(p.Times) != 3 || p.CN != "pending-a.example.net" {
		t.Errorf("got polls %+v, want 3 of which 1 came after the end", p)
	}
	e.must("GET", e.ca("/enrollments/ENR-0000000000000000-1"), nil, 404)
}

func TestFlatRejectedAtOnce(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	got := e.enrollFlat(csrOf(t, "reject-a.example.net"), 200)
	if got.Status != "REJECTED" || got.Certificate != "" || got.TrackingID == "" {
		t.Errorf("got %+v, want it rejected", got)
	}
}

func TestFlatRevoke(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	cert := parsePEM(t, e.enrollFlat(csrOf(t, "a.example.net"), 200).Certificate)[0]
	path := e.ca("/certificates/" + cert.SerialNumber.String() + "/revoke")
	for range 2 { // a repeat succeeds too
		e.must("PUT", path, map[string]string{"revocationReason": "CessationOfOperation"}, 204)
	}
	got := e.gw.Revocations()
	if len(got) != 1 || got[0].Serial != cert.SerialNumber.Text(16) || got[0].Reason != "cessationOfOperation" ||
		got[0].Asked != 2 || got[0].Standing != "revoked" {
		t.Errorf("got %+v", got)
	}
	e.must("PUT", path, map[string]string{"revocationReason": "cessationOfOperation"}, 400)
	e.must("PUT", e.ca("/certificates/88001/revoke"), map[string]string{"revocationReason": "Unspecified"}, 404)
	e.must("PUT", e.ca("/certificates/0x12/revoke"), map[string]string{"revocationReason": "Unspecified"}, 400)
}

func TestFlatRefusals(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	broken := csrOf(t, "a.example.net")
	broken[len(broken)-1] ^= 1
	tests := []struct {
		name   string
		method string
		path   string
		body   any
		want   int
	}{
		{"broken signature", "POST", e.ca("/enrollments"), map[string]any{"csr": armour(broken)}, 400},
		{"bare base64", "POST", e.ca("/enrollments"), request(csrOf(t, "a.example.net")), 400}, // the form of the other dialect
		{"no body", "POST", e.ca("/enrollments"), nil, 400},
		{"unknown profile", "POST", e.ca("/enrollments"), map[string]any{"csr": armour(csrOf(t, "a")), "profileId": "nope"}, 400},
		{"unknown CA", "POST", "/nope/enrollments", map[string]any{"csr": armour(csrOf(t, "a"))}, 404},
		{"wrong method", "GET", e.ca("/enrollments"), nil, 405},
		{"other dialect", "GET", e.ca("/certificate-events"), nil, 404},
		{"double slash", "GET", "/" + e.ca(""), nil, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := e.must(tt.method, tt.path, tt.body, tt.want)
			if text := decode[map[string]string](t, r)["error"]; text == "" {
				t.Errorf("got body %q, want an error text", r.body)
			}
		})
	}
}

func TestFlatProbe(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	got := decode[map[string]string](t, e.must("GET", e.ca(""), nil, 200))
	if got["caId"] != e.gw.CAID() || got["name"] == "" {
		t.Errorf("got %v", got)
	}
}
