package gateway

import (
	"crypto/x509"
	"testing"
)

func TestLinksRememberOnlyWhatWasSigned(t *testing.T) {
	t.Parallel()
	ca, other := newTestCA(t), newTestCA(t)
	var l links
	for range 2 {
		if err := l.verify(ca.root, ca.issuing); err != nil {
			t.Error(err)
		}
		// The same names with other keys, for the parent and for the child.
		for _, pair := range [][2]*x509.Certificate{{other.root, ca.issuing}, {ca.root, other.issuing}, {ca.issuing, ca.root}} {
			if err := l.verify(pair[0], pair[1]); err == nil {
				t.Error("a link without a signature is accepted")
			}
		}
	}
	if n := len(l.seen); n != 1 {
		t.Errorf("%d links are remembered, want 1", n)
	}
	for i := range 2 * maxLinks {
		l.seen[link{parent: [32]byte{1, byte(i), byte(i >> 8)}}] = struct{}{}
	}
	if err := l.verify(other.root, other.issuing); err != nil || len(l.seen) != 1 {
		t.Errorf("%v, %d links; want a fresh start at the bound", err, len(l.seen))
	}
}

// TestChangedAnswerIsCheckedAsItStands checks that CheckIssued parses the certificate of the
// answer again if the caller changed it.
func TestChangedAnswerIsCheckedAsItStands(t *testing.T) {
	t.Parallel()
	ca, other := newTestCA(t), newTestCA(t)
	csr := newCSR(t)
	c := newClient(t, Config{Dialect: DialectCertctl}, always(200, asJSON(t, jsonMap{
		"status": "ISSUED", "certificate": pemOf(ca.issue(csr, nil)), "chain": pemOf(ca.issuing, ca.root),
	})))
	for _, change := range []func(*Answer){
		func(a *Answer) { a.Certificate = other.issue(newCSR(t), nil).Raw },
		func(a *Answer) { a.Certificate = ca.issuing.Raw },
	} {
		a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
		if err != nil {
			t.Fatal(err)
		}
		want := Expectation{PublicKey: csr.PublicKey}
		if _, err := CheckIssued(a, want); err != nil {
			t.Fatal(err)
		}
		if change(&a); len(a.Chain) != 2 {
			t.Fatal("the chain is not the one sent")
		}
		if _, err := CheckIssued(a, want); err == nil {
			t.Error("the changed answer is accepted")
		}
	}
}
