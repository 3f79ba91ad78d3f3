//go:build integration

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/issuer"
	"github.com/entrust-worker/entrust-worker/integration/certctl"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// ticks plays certctl: it makes a new connector for each tick, with a short context, so
// that only the bus keeps state.
type ticks struct {
	t    *testing.T
	site *rig.Site
	gw   *gatewaytest.Server
	cfg  issuer.Config
}

func openTicks(t *testing.T, dialect gatewaytest.Dialect) ticks {
	t.Helper()
	gw := startGateway(t, gatewaytest.Config{Dialect: dialect})
	site := openSite(t, testbed.Start(t), rig.Config{Gateway: gw, Binary: workerBinary, Settings: rig.Settings{PollMax: time.Second}})
	return ticks{t, site, gw, issuer.Config{Producer: "certctl", WaitSeconds: 1, CAID: gw.CAID()}}
}

// of returns the same certctl for a part of the test.
func (k ticks) of(t *testing.T) ticks {
	k.t = t
	return k
}

func (k ticks) connector() certctl.Connector {
	k.t.Helper()
	i, err := issuer.New(k.site.NATS, k.cfg)
	if err != nil {
		k.t.Fatal(err)
	}
	return certctl.Adapter{Issuer: i}
}

// issue makes one call of one tick.
func (k ticks) issue(ctx context.Context, r certctl.IssuanceRequest) (*certctl.IssuanceResult, error) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	result, err := k.connector().IssueCertificate(ctx, r)
	if (result == nil) == (err == nil) || result != nil && result.CertPEM == "" {
		k.t.Errorf("%s: got %+v, %v: certctl stores a result without certificate as a success", r.CommonName, result, err)
	}
	return result, err
}

// until repeats a tick until its result is not pending.
func (k ticks) until(ctx context.Context, r certctl.IssuanceRequest) (*certctl.IssuanceResult, error) {
	k.t.Helper()
	for {
		if result, err := k.issue(ctx, r); !errors.Is(err, issuer.ErrPending) || ctx.Err() != nil {
			return result, err
		}
	}
}

// enrolled returns how many orders the gateway has for a common name, with any key.
func (k ticks) enrolled(name string) (n int, trackingID string) {
	for e := range k.gw.AllEnrollments() {
		if e.CN == name {
			n += e.Count
			trackingID = e.TrackingIDs[0]
		}
	}
	return n, trackingID
}

func (k ticks) wantEnrolled(name string, want int) string {
	k.t.Helper()
	got, trackingID := k.enrolled(name)
	if got != want {
		k.t.Errorf("%s: the gateway has %d orders, want %d", name, got, want)
	}
	return trackingID
}

// job returns certctl's request for a certificate. Each has a new key, like those of
// certctl's server.
func job(t *testing.T, name string) certctl.IssuanceRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return certctl.IssuanceRequest{
		CommonName: name, SANs: []string{name}, CSRPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		MaxTTLSeconds: 30 * 86400,
	}
}

func TestCertctl(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	k := openTicks(t, gatewaytest.CAGW)

	// EST and SCEP do not start without the chain, so it must be available before any
	// certificate is issued.
	startWorker(t, k.site, nil)
	var chain string
	if err := testbed.Until(ctx, "a worker gives the chain", func() (ok bool, err error) {
		chain, err = k.connector().GetCACertPEM(ctx)
		return err == nil, err
	}); err != nil {
		t.Fatal(err)
	}
	if block, rest := pem.Decode([]byte(chain)); block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" && !strings.Contains(string(rest), "BEGIN CERTIFICATE") {
		t.Errorf("got the chain %q", chain)
	}

	t.Run("configuration", func(t *testing.T) {
		for _, row := range []struct {
			config string
			want   error
			text   string
		}{
			{`{"producer":"certctl","ca_id":"` + k.gw.CAID() + `"}`, nil, ""},
			{`{"producer":"certctl"}`, nil, ""}, // the worker's own CA
			{`{"producer":"certctl","ca_id":"elsewhere"}`, entrustbus.ErrUnknownCA, "elsewhere"},
			{`{"producer":"a b"}`, nil, "producer: "},
			{`{"producer":"certctl","caid":"x"}`, nil, `unknown field "caid"`},
			{`{"producer":"certctl","window_seconds":3600,"poll_max_wait_seconds":86400}`, nil, "3600 !>= 86400"},
		} {
			err := k.connector().ValidateConfig(ctx, json.RawMessage(row.config))
			if row.want != nil && !errors.Is(err, row.want) || (row.text == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), row.text) {
				t.Errorf("%s: got %v, want %v %s", row.config, err, row.want, row.text)
			}
		}
	})

	t.Run("immediate", func(t *testing.T) {
		t.Parallel()
		k := k.of(t)
		r := job(t, "issue-now.example.net")
		first, err := k.until(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		if days := first.NotAfter.Sub(first.NotBefore).Hours() / 24; days > 30.1 || first.ChainPEM == "" || strings.Trim(first.Serial, "0123456789") != "" {
			t.Errorf("got a certificate for %.1f days with the serial %s", days, first.Serial)
		}
		// The tick after an aborted one: the same certificate, no second order.
		second, err := k.issue(ctx, r)
		if err != nil || *second != *first {
			t.Errorf("asked again: got %+v, %v", second, err)
		}
		// A new key from certctl: no second order either, and no certificate for the lost
		// key.
		if _, err := k.issue(ctx, job(t, "issue-now.example.net")); !errors.Is(err, issuer.ErrOtherKey) || !strings.Contains(err.Error(), first.Serial) {
			t.Errorf("another key: got %v, want ErrOtherKey with the serial", err)
		}
		k.wantEnrolled("issue-now.example.net", 1)

		// A renewal is another order, and a renewal of that order is yet another.
		renew := certctl.RenewalRequest{CommonName: r.CommonName, SANs: r.SANs, CSRPEM: job(t, r.CommonName).CSRPEM, MaxTTLSeconds: r.MaxTTLSeconds, OrderID: &first.OrderID}
		third, err := k.connector().RenewCertificate(ctx, renew)
		if err != nil || third.Serial == first.Serial {
			t.Fatalf("renewed: got %+v, %v", third, err)
		}
		k.wantEnrolled("issue-now.example.net", 2)

		status, err := k.connector().GetOrderStatus(ctx, first.OrderID)
		if err != nil || status.Status != issuer.StatusCompleted || *status.CertPEM != first.CertPEM {
			t.Errorf("status: got %+v, %v", status, err)
		}
		reason := "keyCompromise"
		for range 2 { // certctl repeats a revocation if it is not sure of it
			if err := k.connector().RevokeCertificate(ctx, certctl.RevocationRequest{Serial: first.Serial, Reason: &reason}); err != nil {
				t.Errorf("revoking: %v", err)
			}
		}
		if got := len(k.gw.Revocations()); got != 1 {
			t.Errorf("the gateway has %d revocations, want 1", got)
		}
	})

	t.Run("pending across five ticks", func(t *testing.T) {
		t.Parallel()
		k := k.of(t)
		r := job(t, "hold-five.example.net")
		for tick := range 5 {
			request := r
			if tick > 0 && tick < 4 {
				request = job(t, "hold-five.example.net") // certctl made a key again
			}
			if _, err := k.issue(ctx, request); !errors.Is(err, issuer.ErrPending) {
				t.Fatalf("tick %d: got %v, want ErrPending", tick+1, err)
			}
		}
		if err := k.gw.Approve(k.wantEnrolled("hold-five.example.net", 1)); err != nil {
			t.Fatal(err)
		}
		if result, err := k.until(ctx, r); err != nil {
			t.Errorf("approved: got %+v, %v", result, err)
		}
		k.wantEnrolled("hold-five.example.net", 1)
	})

	t.Run("rejected", func(t *testing.T) {
		t.Parallel()
		k := k.of(t)
		r := job(t, "reject-me.example.net")
		var outcome *issuer.OutcomeError
		if _, err := k.until(ctx, r); !errors.As(err, &outcome) || outcome.Outcome != entrustbus.OutcomeRejected {
			t.Fatalf("got %v, want a rejection", err)
		}
		if _, err := k.issue(ctx, job(t, "reject-me.example.net")); !errors.As(err, &outcome) {
			t.Errorf("asked again: got %v", err)
		}
		k.wantEnrolled("reject-me.example.net", 1)
		status, err := k.connector().GetOrderStatus(ctx, outcome.OrderID)
		if err != nil || status.Status != issuer.StatusFailed || !strings.Contains(*status.Message, "rejected") || status.CertPEM != nil {
			t.Errorf("status: got %+v, %v", status, err)
		}
	})

	t.Run("a job id", func(t *testing.T) {
		t.Parallel()
		k := k.of(t)
		r := job(t, "issue-job.example.net")
		first, err := k.until(issuer.WithJobID(ctx, "mc-1/job 7"), r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := k.issue(issuer.WithJobID(ctx, "mc-1/job 7"), r); err != nil || again.Serial != first.Serial {
			t.Errorf("the same job: got %+v, %v", again, err)
		}
		if other, err := k.issue(issuer.WithJobID(ctx, "mc-1/job 8"), r); err != nil || other.Serial == first.Serial {
			t.Errorf("another job: got %+v, %v", other, err)
		}
		k.wantEnrolled("issue-job.example.net", 2)
	})

	t.Run("what is not supported", func(t *testing.T) {
		t.Parallel()
		c := k.connector()
		if crl, err := c.GenerateCRL(ctx, nil); crl != nil || !errors.Is(err, issuer.ErrUnsupported) {
			t.Errorf("CRL: got %v", err)
		}
		if answer, err := c.SignOCSPResponse(ctx, certctl.OCSPSignRequest{}); answer != nil || !errors.Is(err, issuer.ErrUnsupported) {
			t.Errorf("OCSP: got %v", err)
		}
		if info, err := c.GetRenewalInfo(ctx, ""); info != nil || err != nil {
			t.Errorf("renewal information: got %v, %v", info, err)
		}
		if _, err := c.IssueCertificate(ctx, certctl.IssuanceRequest{CommonName: "a", CSRPEM: "no request"}); !isField(err, "csr_pem") {
			t.Errorf("no certificate request: got %v", err)
		}
	})
}

func isField(err error, field string) bool {
	var f *entrustbus.FieldError
	return errors.As(err, &f) && f.Field == field
}

// The worker is killed between ticks, once while the order waits for approval and once
// before it has begun.
func TestCertctlWorkerKilledBetweenTicks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	k := openTicks(t, gatewaytest.CertCtl)

	r := job(t, "hold-killed.example.net")
	r.MaxTTLSeconds = 0 // this dialect has no field for a cap
	if _, err := k.issue(ctx, r); !errors.Is(err, issuer.ErrPending) || !strings.Contains(fmt.Sprint(err), "no worker has begun") {
		t.Fatalf("without a worker: got %v, want ErrPending", err)
	}
	for tick := range 3 {
		w := startWorker(t, k.site, nil)
		if err := testbed.Until(ctx, "the gateway has the order", func() (bool, error) {
			n, _ := k.enrolled(r.CommonName)
			return n > 0, nil
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.issue(ctx, r); !errors.Is(err, issuer.ErrPending) {
			t.Fatalf("tick %d: got %v, want ErrPending", tick+1, err)
		}
		w.Kill()
	}
	if err := k.gw.Approve(k.wantEnrolled(r.CommonName, 1)); err != nil {
		t.Fatal(err)
	}
	startWorker(t, k.site, nil)
	if _, err := k.until(ctx, r); err != nil {
		t.Fatal(err)
	}
	k.wantEnrolled(r.CommonName, 1)

	// A gateway of this dialect has no certificates of CAs.
	if chain, err := k.connector().GetCACertPEM(ctx); !errors.Is(err, entrustbus.ErrNotSupported) {
		t.Errorf("got the chain %q, %v", chain, err)
	}
}
