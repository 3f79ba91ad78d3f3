package consumer_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

func properties(t *testing.T, of map[string]any) consumer.Properties {
	t.Helper()
	p, err := consumer.NewProperties(map[string]map[string]any{"sim~issuing": of, "other": {"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// listening is a gateway that passes enrollments on to the test.
type listening struct {
	*gateway.Client
	heard chan gateway.Enrollment
}

func (g *listening) Enroll(ctx context.Context, e gateway.Enrollment) (gateway.Answer, error) {
	g.heard <- e
	return g.Client.Enroll(ctx, e)
}

// An enrollment like that of Entrust's Ansible module for Entrust Certificate Services, from
// the bus to the certificate. Its properties come from the request, from the configuration, and
// from a label of the request.
func TestEnrollmentOfECS(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, ECS: true})
	r.cfg.Properties = properties(t, map[string]any{
		"tracking.requesterName": "PKI team", "tracking.requesterEmail": "{{.labels.owner}}",
		"tracking.trackingInfo": "{{.producer}}/{{.id}} for {{.common_name}}{{range .names}} {{.}}{{end}}", "tracking.additionalEmails": []any{"{{.labels.owner}}", "{{.labels.deputy}}"},
	})
	gw := &listening{Client: r.client(), heard: make(chan gateway.Enrollment, 1)}
	r.runWith(gw)
	end := time.Now().UTC().AddDate(0, 6, 0)
	body, err := json.Marshal(map[string]any{
		"id": "ecs", "csr_pem": csr(t, "ecs"), "subject_dn": "omit", "must_staple": true, "ekus": []string{"serverAuth"},
		"validity_period": time.Now().UTC().Format("2006-01-02T15:04Z") + "/" + end.Format("2006-01-02T15:04Z"),
		"labels":          map[string]string{"owner": "ada@example.net"},
		"properties": map[string]any{
			"tracking.requesterName": "Ada", "tracking.customFields.text1": "rack 7",
			"tracking.customFields.number1": 342.5, "tracking.customFields.date1": "2018-01-01",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.publish(entrustbus.KindIssue, body)
	res := r.result("ecs")
	if res.Outcome != entrustbus.OutcomeIssued || res.NotAfter.Sub(end).Abs() > time.Minute {
		t.Fatalf("result is %+v (error %+v)", res, res.Error)
	}
	block, _ := pem.Decode([]byte(res.CertificatePEM))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	stapled := slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.String() == "1.3.6.1.5.5.7.1.24" })
	if !stapled || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("must-staple %v, usages %v", stapled, cert.ExtKeyUsage)
	}
	sent, err := json.Marshal((<-gw.heard).Properties)
	const want = `{"tracking.additionalEmails":["ada@example.net"],"tracking.customFields.date1":"2018-01-01","tracking.customFields.number1":342.5,` +
		`"tracking.customFields.text1":"rack 7","tracking.requesterEmail":"ada@example.net","tracking.requesterName":"Ada",` +
		`"tracking.trackingInfo":"shop/ecs for ecs ecs.example.net"}`
	if err != nil || string(sent) != want {
		t.Errorf("the gateway got %s\nwant %s", sent, want)
	}
	r.quiet()
}

// A property that the profile's description requires is missing: the request is refused before
// the POST. Without a description, the gateway refuses by itself.
func TestMissingProperty(t *testing.T) {
	t.Parallel()
	for _, undescribed := range []bool{false, true} {
		r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, ECS: true, Undescribed: undescribed})
		r.run()
		r.send(&entrustbus.Issue{ID: "bare", CSRPEM: csr(t, "bare"), Properties: map[string]any{"tracking.requesterEmail": "ada@example.net"}})
		res := r.result("bare")
		if res.Outcome != entrustbus.OutcomeFailed || res.Error.Class != entrustbus.ClassValidation || !strings.Contains(res.Error.Message, "tracking.requesterName") {
			t.Fatalf("result is %+v (error %+v)", res, res.Error)
		}
		if sent := res.Error.HTTPStatus == http.StatusBadRequest; sent != undescribed || r.sim.Stats().Requests[gatewaytest.OpEnroll] != map[bool]int{true: 1}[undescribed] {
			t.Errorf("undescribed %v: HTTP status %d, requests %v", undescribed, res.Error.HTTPStatus, r.sim.Stats().Requests)
		}
		r.wantLetters(order.Rejected)
		r.quiet()
	}
}
