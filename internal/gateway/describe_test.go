package gateway_test

import (
	"errors"
	"math/big"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// TestReadOnlyCalls makes every read-only call.
func TestReadOnlyCalls(t *testing.T) {
	t.Parallel()
	sim := startSimulator(t, gatewaytest.Config{
		Dialect: gatewaytest.CAGW, CAIDs: []string{"part~1", "other/ca"}, SerialDigits: 40,
		Requirements: map[string]gatewaytest.Requirements{"tls-client": {Properties: []string{"owner"}, AltNames: []string{"dNSName"}, Variables: []string{"cn"}}},
	})
	c, ctx := sim.good, t.Context()
	cas, err := c.CAs(ctx)
	if err != nil || len(cas) != 2 || cas[1].ID != "other/ca" || cas[1].Properties["connector-name"] == "" {
		t.Errorf("CAs: %+v, %v", cas, err)
	}
	all, err := c.Profiles(ctx, "other/ca")
	if err != nil || len(all) != 2 || all[0].Missing(nil) != "" {
		t.Errorf("profiles: %+v, %v", all, err)
	}
	p, err := c.Profile(ctx, "", "tls-client")
	if err != nil || len(p.SubjectAltNames) != 1 || p.SubjectAltNames[0].Name != "dNSName" || len(p.SubjectVariables) != 1 || !p.SubjectVariables[0].Required {
		t.Errorf("profile: %+v, %v", p, err)
	}
	for _, tc := range []struct {
		given any
		want  string
	}{{nil, "owner"}, {"", "owner"}, {[]any{}, "owner"}, {"web", ""}, {false, ""}, {int64(0), ""}, {[]any{"a"}, ""}} {
		if got := p.Missing(map[string]any{"owner": tc.given}); got != tc.want {
			t.Errorf("with owner %v, %q is missing, want %q", tc.given, got, tc.want)
		}
	}

	csr := sim.newCSR(t, "issue")
	a, err := c.Enroll(ctx, gateway.Enrollment{CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := gateway.CheckIssued(a, gateway.Expectation{PublicKey: csr.PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := c.Certificate(ctx, "", leaf.SerialNumber)
	if err != nil || !kept.Equal(leaf) || kept.Status != "normal" || !kept.RevokedAt.IsZero() {
		t.Errorf("certificate: %+v, %v", kept, err)
	}
	if err := c.Revoke(ctx, gateway.Revocation{Serial: leaf.SerialNumber, Reason: "superseded", Comment: "rotated"}); err != nil {
		t.Fatal(err)
	}
	kept, err = c.Certificate(ctx, "", leaf.SerialNumber)
	if err != nil || kept.Status != "revoked" || kept.Reason != "superseded" || kept.Comment != "rotated" || kept.RevokedAt.IsZero() {
		t.Errorf("revoked certificate: %+v, %v", kept, err)
	}
	if _, err := c.Certificate(ctx, "", big.NewInt(77)); !gateway.NotKnown(err) {
		t.Errorf("unknown certificate: %v", err)
	}
	if _, err := c.Certificate(ctx, "none", leaf.SerialNumber); err == nil {
		t.Error("got a certificate of an unknown CA")
	}
	if _, err := c.Profile(ctx, "", "none"); !gateway.NotKnown(err) {
		t.Errorf("unknown profile: %v", err)
	}
}

// TestNothingIsDescribed checks that the certctl dialect has no read-only calls.
func TestNothingIsDescribed(t *testing.T) {
	t.Parallel()
	c, ctx := startSimulator(t, gatewaytest.Config{}).good, t.Context()
	_, err1 := c.Profiles(ctx, "")
	_, err2 := c.Profile(ctx, "", "tls-server")
	_, err3 := c.Certificate(ctx, "", big.NewInt(1))
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, gateway.ErrNotDescribed) {
			t.Error(err)
		}
	}
}
