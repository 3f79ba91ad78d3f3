package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

const day = 24 * time.Hour

// TestCapOfTheValidity checks that the client requests a cap unless the profile is known to give
// less, and that CheckIssued enforces the cap.
func TestCapOfTheValidity(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		dialect   gatewaytest.Dialect
		configure time.Duration // Config.ProfileValidity
		learn     bool          // enroll once without a cap
		most      time.Duration
		life      time.Duration // 0: refused unsent
		problem   string        // of CheckIssued
	}{
		{name: "the profile is not known", dialect: gatewaytest.CAGW, most: 200 * day, life: 200 * day},
		{name: "the profile is configured to give less", dialect: gatewaytest.CAGW, configure: 90 * day, most: 200 * day, life: 90 * day},
		{name: "the profile is configured to give more", dialect: gatewaytest.CAGW, configure: 90 * day, most: 30 * day, life: 30 * day},
		{name: "the profile was seen to give less", dialect: gatewaytest.CAGW, learn: true, most: 200 * day, life: 90 * day},
		{name: "the profile was seen to give more", dialect: gatewaytest.CAGW, learn: true, most: 30 * day, life: 30 * day},
		{name: "the configuration is wrong", dialect: gatewaytest.CAGW, configure: 10 * day, most: 30 * day, life: 90 * day, problem: "the cap is 720h"},
		{name: "certctl cannot ask", dialect: gatewaytest.CertCtl, most: 30 * day, life: 90 * day, problem: "it is valid for 2160h"},
		{name: "certctl, known to give less", dialect: gatewaytest.CertCtl, learn: true, most: 200 * day, life: 90 * day},
		{name: "certctl, known to give more", dialect: gatewaytest.CertCtl, learn: true, most: 30 * day},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t, gatewaytest.Config{Dialect: tc.dialect})
			if tc.configure > 0 {
				sim.profiles = map[string]time.Duration{sim.gw.Profile(): tc.configure}
			}
			c := sim.client(t, nil, false)
			if tc.learn {
				if _, err := c.Enroll(t.Context(), gateway.Enrollment{CSR: sim.newCSR(t, "issue")}); err != nil {
					t.Fatal(err)
				}
			}
			csr := sim.newCSR(t, "issue")
			a, err := c.Enroll(t.Context(), gateway.Enrollment{CSR: csr, MaxValidity: tc.most})
			if tc.life == 0 {
				if gateway.FateOf(err) != gateway.Refused || !strings.Contains(err.Error(), "max_validity_seconds") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			cert, err := gateway.CheckIssued(a, gateway.Expectation{PublicKey: csr.PublicKey})
			if err != nil {
				t.Fatal(err)
			}
			if life := cert.NotAfter.Sub(cert.NotBefore); life != tc.life {
				t.Errorf("valid for %s, want %s", life, tc.life)
			}
			_, err = gateway.CheckIssued(a, gateway.Expectation{PublicKey: csr.PublicKey, MaxValidity: tc.most})
			if (err != nil) != (tc.problem != "") || err != nil && !strings.Contains(err.Error(), tc.problem) {
				t.Errorf("%v, want %q", err, tc.problem)
			}
		})
	}
}

// TestValidityPeriods sends the intervals that Entrust's Ansible module documents. They must
// arrive unchanged, and CheckIssued must accept a certificate that begins at the requested time.
func TestValidityPeriods(t *testing.T) {
	t.Parallel()
	sim := startSimulator(t, gatewaytest.Config{Dialect: gatewaytest.CAGW})
	begin := time.Now().UTC().AddDate(0, 0, 9).Truncate(time.Minute)
	end := begin.AddDate(0, 3, 0)
	short := func(t time.Time) string { return t.Format("2006-01-02T15:04Z") }
	for _, period := range []string{
		short(begin) + "/" + end.Format(time.RFC3339), short(begin) + "/P0Y3M0DT0H0M", "P0Y3M0DT0H0M/" + short(end),
	} {
		csr := sim.newCSR(t, "issue")
		a, err := sim.good.Enroll(t.Context(), gateway.Enrollment{CSR: csr, Period: period})
		if err != nil {
			t.Fatalf("%s: %v", period, err)
		}
		if _, err := gateway.CheckIssued(a, gateway.Expectation{PublicKey: csr.PublicKey}); err == nil {
			t.Errorf("%s: a certificate that begins in nine days passes unasked", period)
		}
		cert, err := gateway.CheckIssued(a, gateway.Expectation{PublicKey: csr.PublicKey, From: begin})
		if err != nil {
			t.Fatalf("%s: %v", period, err)
		}
		// A duration before an end and the same duration after a beginning may differ, because
		// months differ in length.
		if cert.NotBefore.Sub(begin).Abs() > 3*day || cert.NotAfter.Sub(end).Abs() > 3*day {
			t.Errorf("%s: valid from %s to %s, asked for %s to %s", period, cert.NotBefore, cert.NotAfter, begin, end)
		}
	}
	certctl := startSimulator(t, gatewaytest.Config{})
	if _, err := certctl.good.Enroll(t.Context(), gateway.Enrollment{CSR: certctl.newCSR(t, "issue"), Period: "P1D"}); gateway.FateOf(err) != gateway.Refused {
		t.Errorf("in the certctl dialect: %v", err)
	}
}
