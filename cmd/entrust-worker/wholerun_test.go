package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// hidden are texts that no output may hold, by what they are of.
type hidden map[string]string

// der hides the body of a certificate, key or request: as PEM, base64 or hexadecimal have
// it. What is looked for is behind the parts that many have in common.
func (h hidden) der(of string, body []byte) {
	from := len(body) / 3 / 3 * 3 // on a boundary of base64
	h[of+" in base64"] = base64.StdEncoding.EncodeToString(body[from : from+24])
	h[of+" in hexadecimal"] = hex.EncodeToString(body[from : from+24])
	for i := 0; i < len(body); i += 48 { // a line of PEM
		if line := base64.StdEncoding.EncodeToString(body[i:min(i+48, len(body))]); len(line) > 40 {
			h[fmt.Sprintf("%s, line %d of PEM", of, i/48+1)] = line
		}
	}
}

func (h hidden) pemFile(t *testing.T, of, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s holds no PEM", path)
	}
	h.der(of, block.Bytes)
}

// find reports what of it is in a text.
func (h hidden) find(t *testing.T, where, text string) {
	t.Helper()
	for of, secret := range h {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds %s", where, of)
		}
	}
}

// in reports whether any of it is in a text.
func (h hidden) in(text string) bool {
	for _, secret := range h {
		if strings.Contains(text, secret) {
			return true
		}
	}
	return false
}

// Whatever a worker writes in a whole life holds no credential, no certificate request and no certificate: its
// log at the level debug, metrics, health, what it answers over the bus, and what the verbs print. The life has
// every kind of end, a gateway that repeats what it was sent, a broken rotation, and a bus that went away.
func TestNoSecretInAWholeRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const token = "planted-token-of-the-bus"
	srv, err := testbed.Run(testbed.Config{Dir: filepath.Join(dir, "nats"), Extra: fmt.Sprintf("authorization { token: %q }", token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	gw, err := gatewaytest.Start(gatewaytest.Config{Dir: filepath.Join(dir, "gateway"), Dialect: gatewaytest.CAGW, ApproveAfter: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gw.Close() })

	h := hidden{"the token": token}
	h.pemFile(t, "the client's key", gw.ClientKey())
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	_, signs, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signs)
	if err != nil {
		t.Fatal(err)
	}
	auditKey := write("audit.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	h.pemFile(t, "the key of the audit trail", auditKey)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	environ := []string{
		"NATS_URL=" + srv.URL, "NATS_TOKEN_FILE=" + write("token", token+"\n"), "XDG_CONFIG_HOME=" + dir,
		"CERTCTL_ENTRUST_API_URL=" + gw.URL(), "CERTCTL_ENTRUST_CA_ID=" + gw.CAID(), "CERTCTL_ENTRUST_PROFILE_ID=" + gw.Profile(),
		"CERTCTL_ENTRUST_CLIENT_CERT_PATH=" + gw.ClientCert(), "CERTCTL_ENTRUST_CLIENT_KEY_PATH=" + gw.ClientKey(),
		"ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH=" + gw.ServerCA(), "ENTRUST_WORKER_GATEWAY_EVENT_DELAY=100ms",
		"ENTRUST_WORKER_GATEWAY_ENROLL_TIMEOUT=2s", "ENTRUST_WORKER_POLL_FIRST=200ms", "ENTRUST_WORKER_POLL_MAX=500ms",
		"ENTRUST_WORKER_LOG_LEVEL=debug", "ENTRUST_WORKER_HTTP_ADDR=" + addr, "ENTRUST_WORKER_PROVISION=true",
		"ENTRUST_WORKER_AUDIT_KEY_FILE=" + auditKey,
		"ENTRUST_WORKER_POLICY_FILE=" + write("policy.yaml", "producers: {shop: {kinds: [issue, revoke], names: {dns: {suffixes: [example.net]}}, revoke: {serials: any, reasons: ['*']}}}"),
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log lockedBuffer
	ended := make(chan int, 1)
	go func() { ended <- execute(ctx, []string{"run"}, environ, strings.NewReader(""), &log, &log) }()

	nc := srv.Conn(t, nats.Token(token))
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	within, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	answers := func(what string, want func(*entrustbus.Check) bool) {
		t.Helper()
		err := testbed.UntilEvery(within, 50*time.Millisecond, what, func() (bool, error) {
			check, err := client.Check(within, "")
			return err == nil && want(check), nil
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
	}
	answers("the worker answers", func(c *entrustbus.Check) bool { return c.GatewayReady })

	issue := func(id, fate string) *entrustbus.Issue {
		q := oracle.NewIssue(id, fate).Request.(*entrustbus.Issue)
		h.der("the certificate request of "+id, q.CSRDER)
		return q
	}
	end := func(r entrustbus.Request, want entrustbus.Outcome) *entrustbus.Result {
		t.Helper()
		if _, err := client.Submit(within, r); err != nil {
			t.Fatal(err)
		}
		result, err := client.Wait(within, r.OrderID())
		if err != nil || result.Outcome != want {
			t.Fatalf("%s ended as %+v, %v, want %s\n%s", r.OrderID(), result, err, want, log.String())
		}
		if block, _ := pem.Decode([]byte(result.CertificatePEM)); block != nil {
			h.der("the certificate of "+r.OrderID(), block.Bytes)
		}
		if result.Error != nil {
			h.find(t, "the error of "+r.OrderID(), result.Error.Message)
		}
		return result
	}
	good := end(issue("good", "issue"), entrustbus.OutcomeIssued)
	end(issue("parked", "pending"), entrustbus.OutcomeIssued)
	end(issue("no", "reject"), entrustbus.OutcomeRejected)
	end(&entrustbus.Revoke{ID: "gone", Serial: good.Serial}, entrustbus.OutcomeRevoked)
	denied := oracle.IssueOf(&entrustbus.Issue{ID: "denied", CSRDER: mustCSR(t, "www.elsewhere.example")}).Request.(*entrustbus.Issue)
	h.der("the certificate request of denied", denied.CSRDER)
	end(denied, entrustbus.OutcomeRejected)

	// A gateway that sends back what it was sent, in its own error and as a page.
	echo := issue("echo", "issue")
	for i, form := range []string{"json", "text", "html"} {
		q := *echo
		q.ID = fmt.Sprintf("echo-%d", i)
		if _, err := gw.AddFault(gatewaytest.Fault{
			Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 400, Form: form, Times: 1, CNPrefix: "issue-echo",
			Message: "cannot read the request " + base64.StdEncoding.EncodeToString(echo.CSRDER),
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Submit(within, &q); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Wait(within, q.ID); err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
	}
	lost := issue("lost", "issue")
	if _, err := gw.AddFault(gatewaytest.Fault{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLostReply, CNPrefix: "issue-lost", Times: 1}); err != nil {
		t.Fatal(err)
	}
	end(lost, entrustbus.OutcomeIssued)

	// Requests that cannot be read, with all that a request holds in them.
	body := base64.StdEncoding.EncodeToString(echo.CSRDER)
	for _, text := range []string{
		`{"id":"broken","csr_der":"` + body, `{"id":"twice","csr_pem":"` + body + `!","csr_der":"` + body + `"}`, `["` + body + `"]`,
		`{"id":"unknown","csr_pm":"` + body + `","strict":true,"csr_der":"` + body + `"}`,
	} {
		if err := nc.Publish("entrust.request.shop.issue", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Wait(within, "unknown"); err != nil {
		t.Fatal(err)
	}

	// A half-written rotation, and a bus that goes away and comes back.
	key, err := os.ReadFile(gw.ClientKey())
	if err != nil {
		t.Fatal(err)
	}
	write("gateway/client.key", string(key[:len(key)/2]))
	answers("the worker cannot load the broken key", func(c *entrustbus.Check) bool { return !c.CredentialsUsable })
	if _, err := client.Submit(within, issue("waits", "issue")); err != nil {
		t.Fatal(err)
	}
	answers("the worker makes no call with it", func(c *entrustbus.Check) bool { return !c.GatewayReady })
	for _, verb := range [][]string{{"check"}, {"check", "--json"}} {
		h.find(t, strings.Join(verb, " ")+" with a broken key", patiently(t, verb, environ))
	}
	write("gateway/client.key", string(key))
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Wait(within, "waits"); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	answers("the worker is back", func(c *entrustbus.Check) bool { return c.GatewayReady && c.CredentialsUsable })

	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || len(text) == 0 {
			t.Fatalf("%s: %v", path, err)
		}
		h.find(t, path, string(text))
		if path == "/metrics" {
			hasWhatIsAsked(t, string(text))
		}
	}
	for _, subject := range []string{"$SRV.INFO.entrust-worker", "$SRV.STATS.entrust-worker", "entrust.ask.shop.check"} {
		msg, err := nc.RequestWithContext(within, subject, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.find(t, "the answer to "+subject, string(msg.Data))
	}
	for _, verb := range [][]string{
		{"config"}, {"config", "--json"}, {"check"}, {"check", "--json"}, {"check", "--format", "nagios"}, {"orders", "ls"}, {"orders", "ls", "--json"},
		{"orders", "show", "shop.lost"}, {"orders", "show", "shop.lost", "--json"}, {"dead", "ls"}, {"dead", "ls", "--json"}, {"dead", "ls", "--summary"},
		{"policy", "show", "shop"}, {"provision", "--dry-run"}, {"audit", "tail", "-n", "1000"}, {"audit", "tail", "--json"}, {"audit", "verify", "--json"},
	} {
		text := patiently(t, verb, environ)
		if text == "" {
			t.Errorf("%v printed nothing", verb)
		}
		h.find(t, strings.Join(verb, " "), text)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("the worker ended with %d", code)
	}
	h.find(t, "the log", log.String())
	// A test that looks in the wrong place finds nothing.
	for _, want := range []string{`"level":"DEBUG"`, `"order":"good"`, "the client's key pair cannot be used; requests wait", `"msg":"connected to NATS again","outage":"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
	for _, text := range []string{body, good.CertificatePEM, string(key), token} {
		if !h.in(text) {
			t.Errorf("what must be hidden is not found where it is:\n%s", text)
		}
	}
}

// hasWhatIsAsked reports metrics that dashboard and alerts ask for and a worker does not show.
func hasWhatIsAsked(t *testing.T, shown string) {
	t.Helper()
	names := map[string]bool{}
	for _, file := range []string{"../../deploy/grafana/dashboard.json", "../../deploy/prometheus/rules.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`entrust_worker_[a-z_]+`).FindAllString(string(text), -1) {
			names[name] = true
		}
	}
	if len(names) < 30 {
		t.Errorf("only %d metrics are asked for", len(names))
	}
	for name := range names {
		if !strings.Contains(shown, "\n"+name+"{") && !strings.Contains(shown, "\n"+name+" ") {
			t.Errorf("a worker does not show %s", name)
		}
	}
}

// patiently runs a verb to its end, and returns all that it printed.
func patiently(t *testing.T, args, environ []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out lockedBuffer
	execute(ctx, args, environ, strings.NewReader(""), &out, &out)
	return out.String()
}

func mustCSR(t *testing.T, name string) []byte {
	t.Helper()
	der, err := oracle.NewCSR(name)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
