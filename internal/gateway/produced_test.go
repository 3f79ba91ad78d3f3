package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// produced are the recorded answers that the simulator gives by itself, each with the setup for
// it. The simulator must not have a shape of its own.
var produced = map[string]struct {
	cfg gatewaytest.Config
	// before is the state of the certificate that the request names: "", issued or revoked.
	before string
}{
	"cagw-probe":                     {cfg: gatewaytest.Config{NoStatus: true}},
	"cagw-probe-status-up":           {},
	"cagw-probe-status-down":         {cfg: gatewaytest.Config{Faults: []gatewaytest.Fault{{Kind: gatewaytest.FaultCADown}}}},
	"cagw-enroll-issued":             {},
	"cagw-enroll-ecs-properties":     {cfg: gatewaytest.Config{ECS: true}},
	"cagw-enroll-ecs-missing":        {cfg: gatewaytest.Config{ECS: true}},
	"cagw-enroll-subject-omitted":    {},
	"cagw-enroll-subject-slashes":    {},
	"cagw-enroll-subject-variables":  {},
	"cagw-enroll-period-instants":    {},
	"cagw-enroll-period-start":       {},
	"cagw-enroll-period-end":         {},
	"cagw-enroll-cap":                {},
	"cagw-read-cas":                  {},
	"cagw-read-profiles":             {cfg: needy},
	"cagw-read-profile":              {cfg: needy},
	"cagw-read-certificate":          {before: "revoked"},
	"cagw-revoke-completed":          {before: "issued"},
	"cagw-revoke-without-crl":        {before: "issued"},
	"cagw-revoke-again":              {before: "revoked"},
	"cagw-revoke-not-found":          {},
	"cagw-unhold-revoked":            {before: "revoked"},
	"cagw-events-one-page":           {before: "revoked"},
	"certctl-probe":                  {cfg: certctlSimulator},
	"certctl-enroll-issued":          {cfg: certctlSimulator},
	"certctl-reason-KeyCompromise":   {cfg: certctlSimulator, before: "issued"},
	"certctl-reason-CACompromise":    {cfg: certctlSimulator, before: "issued"},
	"cagw-reason-certificateHold":    {before: "issued"},
	"cagw-reason-affiliationChanged": {before: "issued"},
}

var (
	certctlSimulator = gatewaytest.Config{Dialect: gatewaytest.CertCtl}
	needy            = gatewaytest.Config{Requirements: map[string]gatewaytest.Requirements{"tls-server": {
		Properties: []string{"tracking.requesterName"}, AltNames: []string{"dNSName"}, Variables: []string{"cn"},
	}}}
)

// TestSimulatorProducesRecorded sends recorded requests to the simulator. Its answers must have
// the recorded status, and every recorded member with a value of the recorded type.
func TestSimulatorProducesRecorded(t *testing.T) {
	t.Parallel()
	for name, row := range produced {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := row.cfg
			cfg.CAIDs, cfg.Profiles, cfg.BasePath = []string{"ca-1"}, []string{"tls-server"}, "/cagw"
			if cfg.Dialect == "" {
				cfg.Dialect = gatewaytest.CAGW
			}
			sim, err := gatewaytest.Start(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer sim.Close()
			hc, err := sim.Client()
			if err != nil {
				t.Fatal(err)
			}
			defer hc.CloseIdleConnections()

			data, err := os.ReadFile(filepath.Join("testdata", "recorded", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			csr := newCSR(t, "shop.example.net")
			for key, value := range stand(newTestCA(t), csr) {
				text, _ := json.Marshal(value)
				data = bytes.ReplaceAll(data, []byte("{{"+key+"}}"), text[1:len(text)-1])
			}
			var rec recorded
			if err := json.Unmarshal(data, &rec); err != nil {
				t.Fatal(err)
			}
			ex := rec.Exchanges[0]
			if row.before != "" {
				serial := prepared(t, sim, hc, rec.Dialect, row.before)
				for _, old := range []string{"1234abcd", "305441741"} {
					form := serial.Text(16)
					if old == "305441741" {
						form = serial.String()
					}
					ex.Path = strings.Replace(ex.Path, "/"+old, "/"+form, 1)
				}
			}
			status, got := sent(t, hc, ex.Method, strings.TrimSuffix(sim.URL(), "/cagw")+ex.Path, ex.Query, ex.Body)
			if status != ex.Status {
				t.Fatalf("status %d, recorded %d: %v", status, ex.Status, got)
			}
			for _, problem := range lacks("", got, ex.Answer) {
				t.Error(problem)
			}
		})
	}
}

// prepared has a certificate issued, revokes it if the entry says so, and returns its serial.
func prepared(t *testing.T, sim *gatewaytest.Server, hc *http.Client, dialect Dialect, before string) *big.Int {
	t.Helper()
	c, err := New(Config{URL: sim.URL(), CAID: "ca-1", ProfileID: "tls-server", Dialect: dialect}, hc, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Enroll(t.Context(), Enrollment{CSR: newCSR(t, "shop.example.net")})
	if err != nil {
		t.Fatal(err)
	}
	if before == "revoked" {
		if err := c.Revoke(t.Context(), Revocation{Serial: a.leaf.SerialNumber, Reason: "superseded", Comment: "rotated"}); err != nil {
			t.Fatal(err)
		}
	}
	return a.leaf.SerialNumber
}

// sent sends a recorded request.
func sent(t *testing.T, hc *http.Client, method, target string, query map[string]string, body any) (status int, answer any) {
	t.Helper()
	values := url.Values{}
	for key, value := range query {
		if value != "*" {
			values.Set(key, value)
		}
	}
	if len(values) > 0 {
		target += "?" + values.Encode()
	}
	var payload io.Reader
	if body != nil {
		payload = strings.NewReader(asJSON(t, body))
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, payload)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &answer); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
	}
	return resp.StatusCode, answer
}

// lacks names the recorded members that an answer does not have, or has with another type.
func lacks(path string, got, want any) (problems []string) {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, recorded as an object", path, got)}
		}
		for key, value := range want {
			// The simulator sends an inline chain only on request, and no error values or empty
			// reasons.
			if here := path + "." + key; here != ".enrollment.chain" && key != "value" && key != "reason" && key != "class" {
				problems = append(problems, lacks(here, object[key], value)...)
			}
		}
	case []any:
		list, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, recorded as a list", path, got)}
		}
		if len(want) > 0 {
			if len(list) == 0 {
				return []string{path + " is an empty list"}
			}
			problems = lacks(path+"[0]", list[0], want[0])
		}
	default:
		if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) {
			return []string{fmt.Sprintf("%s is %T, recorded as %T", path, got, want)}
		}
	}
	return problems
}
