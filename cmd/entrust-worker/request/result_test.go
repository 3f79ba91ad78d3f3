package request

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// An id that was used longer ago than the server tells duplicates: only the result
// shows whose it is.
func TestForeignResults(t *testing.T) {
	t.Parallel()
	csr, cert := pairOf(t)
	_, other := pairOf(t)
	issue := &entrustbus.Issue{ID: "o", CSRDER: csr}
	for _, tc := range []struct {
		name    string
		request entrustbus.Request
		result  entrustbus.Result
		want    bool
	}{
		{"its own certificate", issue, entrustbus.Result{Kind: entrustbus.KindIssue, CertificatePEM: cert}, false},
		{"no certificate", issue, entrustbus.Result{Kind: entrustbus.KindIssue}, false},
		{"a certificate for another key", issue, entrustbus.Result{Kind: entrustbus.KindIssue, CertificatePEM: other}, true},
		{"of another kind", issue, entrustbus.Result{Kind: entrustbus.KindRevoke}, true},
		{"its own order", &entrustbus.Track{ID: "o", TrackingID: "t", CSRDER: csr}, entrustbus.Result{Kind: entrustbus.KindTrack, TrackingID: "t", CertificatePEM: cert}, false},
		{"another order", &entrustbus.Track{ID: "o", TrackingID: "t"}, entrustbus.Result{Kind: entrustbus.KindTrack, TrackingID: "u"}, true},
		{"another CSR", &entrustbus.Track{ID: "o", TrackingID: "t", CSRDER: csr}, entrustbus.Result{Kind: entrustbus.KindTrack, TrackingID: "t", CertificatePEM: other}, true},
		{"its own serial, written otherwise", &entrustbus.Revoke{ID: "o", Serial: "0x00:5F"}, entrustbus.Result{Kind: entrustbus.KindRevoke, Serial: "5f"}, false},
		{"another serial", &entrustbus.Revoke{ID: "o", Serial: "5f"}, entrustbus.Result{Kind: entrustbus.KindRevoke, Serial: "60"}, true},
	} {
		if got := new(sender).foreign(t.Context(), &parcel{request: tc.request, result: &tc.result}); got != tc.want {
			t.Errorf("%s: foreign is %v", tc.name, got)
		}
	}
}

// pairOf makes a certificate request and a certificate of one key.
func pairOf(t *testing.T) (csr []byte, certificate string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"o.example.net"}}, key); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return csr, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
