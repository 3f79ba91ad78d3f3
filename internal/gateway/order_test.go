package gateway

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

func TestEnrollCAGW(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t, "shop.example.net", "192.0.2.7")
	leaf := ca.issue(csr, nil)
	var sent struct {
		Profile string `json:"profileId"`
		CSR     string
		Format  struct{ Format string }                    `json:"requiredFormat"`
		Details struct{ SubjectDN, ValidityPeriod string } `json:"optionalCertificateRequestDetails"`
		Names   []altName                                  `json:"subjectAltNames"`
	}
	chainFetches := 0
	c := newClient(t, Config{Dialect: DialectCAGW, URL: "/cagw/"}, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "POST /cagw/v1/certificate-authorities/ca-1/enrollments":
			if got := r.Header.Get("Accept"); got != "application/json" {
				t.Errorf("Accept = %q", got)
			}
			if r.Header.Get("Idempotency-Key") != "" {
				t.Error("an Idempotency-Key was sent")
			}
			body, _ := io.ReadAll(r.Body)
			if err := json.Unmarshal(body, &sent); err != nil {
				t.Errorf("the enrollment is no JSON: %v", err)
			}
			always(200, asJSON(t, jsonMap{"enrollment": jsonMap{
				"id": "e-1", "status": "ACCEPTED", "serialNumber": "1234abcd", "body": b64(leaf),
			}}))(w, r)
		case "GET /cagw/v1/certificate-authorities/ca-1":
			chainFetches++
			if got := r.URL.Query().Get("$fields"); got != "ca.certificate,ca.chain" {
				t.Errorf("$fields = %q", got)
			}
			always(200, asJSON(t, jsonMap{"ca": jsonMap{
				"certificate": jsonMap{"certificateData": b64(ca.issuing)},
				"chain":       []jsonMap{{"certificateData": b64(ca.root)}},
			}}))(w, r)
		default:
			t.Errorf("unexpected %s %s", r.Method, r.URL)
		}
	})
	for range 2 {
		a, err := c.Enroll(t.Context(), Enrollment{CSR: csr, Validity: 90 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if a.State != Issued || a.TrackingID != "e-1" || a.Status != "ACCEPTED" || a.HTTPStatus != 200 || len(a.Chain) != 2 {
			t.Errorf("answer = %v %q %q %d, %d chain certificates", a.State, a.TrackingID, a.Status, a.HTTPStatus, len(a.Chain))
		}
		sans, _ := san.Read(csr.Extensions)
		if _, err := CheckIssued(a, Expectation{PublicKey: csr.PublicKey, SANs: sans}); err != nil {
			t.Error(err)
		}
	}
	if chainFetches != 1 {
		t.Errorf("the chain was fetched %d times, want once", chainFetches)
	}
	if sent.CSR != base64.StdEncoding.EncodeToString(csr.Raw) {
		t.Error("csr is not the bare base64 of its DER")
	}
	if sent.Profile != "tls-server" || sent.Format.Format != "X509" {
		t.Errorf("profile %q, format %q", sent.Profile, sent.Format.Format)
	}
	if got, want := sent.Details.SubjectDN, `CN=shop.example.net,O=Example\, Inc.`; got != want {
		t.Errorf("subjectDn = %s, want %s", got, want)
	}
	if sent.Details.ValidityPeriod != "P90D" {
		t.Errorf("validityPeriod = %q", sent.Details.ValidityPeriod)
	}
	want := []altName{{Type: "dNSName", Value: "shop.example.net"}, {Type: "iPAddress", Value: "192.0.2.7"}}
	if len(sent.Names) != 2 || sent.Names[0] != want[0] || sent.Names[1] != want[1] {
		t.Errorf("subjectAltNames = %v, want %v", sent.Names, want)
	}
}

func TestEnrollAndPollCertctl(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t, "shop.example.net", "192.0.2.7")
	leaf := ca.issue(csr, nil)
	var sent struct {
		CSR       string
		ProfileID string
		Names     []altName `json:"subjectAltNames"`
	}
	c := newClient(t, Config{Dialect: DialectCertctl, URL: "/v1/"}, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "POST /v1/certificate-authorities/ca-1/enrollments":
			body, _ := io.ReadAll(r.Body)
			if err := json.Unmarshal(body, &sent); err != nil {
				t.Errorf("the enrollment is no JSON: %v", err)
			}
			always(201, `{"trackingId":"ENR-42","status":"AWAITING_APPROVAL"}`)(w, r)
		case "GET /v1/certificate-authorities/ca-1/enrollments/ENR-42":
			always(200, asJSON(t, jsonMap{
				"trackingId": "ENR-42", "status": "ISSUED", "certificate": pemOf(leaf), "chain": pemOf(ca.issuing, ca.root),
			}))(w, r)
		default:
			t.Errorf("unexpected %s %s", r.Method, r.URL)
		}
	})
	a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	if a.State != Pending || a.TrackingID != "ENR-42" || a.Status != "AWAITING_APPROVAL" {
		t.Fatalf("answer = %v %q %q", a.State, a.TrackingID, a.Status)
	}
	if block, _ := pem.Decode([]byte(sent.CSR)); block == nil || !strings.HasSuffix(sent.CSR, "\n") || string(block.Bytes) != string(csr.Raw) {
		t.Error("csr is not PEM text of the CSR")
	}
	want := []altName{{Type: "dNSName", Value: "shop.example.net"}, {Type: "dNSName", Value: "192.0.2.7"}}
	if sent.ProfileID != "tls-server" || len(sent.Names) != 2 || sent.Names[0] != want[0] || sent.Names[1] != want[1] {
		t.Errorf("profileId %q, subjectAltNames %v", sent.ProfileID, sent.Names)
	}
	a, err = c.Poll(t.Context(), Poll{TrackingID: "ENR-42", SubmittedAt: time.Now(), CSR: func() *x509.CertificateRequest { return csr }})
	if err != nil {
		t.Fatal(err)
	}
	if a.State != Issued || len(a.Chain) != 2 {
		t.Fatalf("answer = %v with %d chain certificates", a.State, len(a.Chain))
	}
	if _, err := CheckIssued(a, Expectation{SPKI: csr.RawSubjectPublicKeyInfo}); err != nil {
		t.Error(err)
	}
}
