// Package nats holds NATS configuration to deploy. Its only code is this test, which
// runs a worker, producers, an operator and a monitor with the permissions in permissions.conf.
package nats

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/issuer"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// within bounds each wait.
const within = time.Minute

// site is a server with the permissions, a gateway, and a seed file for each user.
type site struct {
	http   string // address of the worker's status page
	server *testbed.Server
	gw     *gatewaytest.Server
	seeds  map[string]string // paths by user
	worker string            // the binary
	policy string            // path of the policy file
}

// newSite sets environment variables, so its tests do not run in parallel.
func newSite(t *testing.T) *site {
	t.Helper()
	permissions, err := os.ReadFile("permissions.conf")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{seeds: map[string]string{}}
	for _, user := range []string{"worker", "operator", "monitor", "shop", "web"} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		seed, err := pair.Seed()
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("NKEY_ENTRUST_"+strings.ToUpper(user), public)
		s.seeds[user] = filepath.Join(t.TempDir(), user+".nk")
		if err := os.WriteFile(s.seeds[user], seed, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.policy = filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(s.policy, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	s.server = testbed.Start(t, string(permissions))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.http = free.Addr().String()
	_ = free.Close()
	if s.gw, err = gatewaytest.Start(gatewaytest.Config{Dialect: gatewaytest.Both, ApproveAfter: time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.gw.Close() })
	if s.worker, err = testbed.Build(t.Context(), t.TempDir(), false); err != nil {
		t.Fatal(err)
	}
	return s
}

// rules are the policy of the workers in these tests.
const rules = `producers:
  shop:
    kinds: ['*']
    names: {dns: {suffixes: [example]}}
    revoke: {serials: own, reasons: [keyCompromise]}
`

// connect connects as a user and collects the permission errors of the server.
func (s *site) connect(t *testing.T, user string) (*nats.Conn, *refusals) {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(s.seeds[user])
	if err != nil {
		t.Fatal(err)
	}
	r := &refusals{}
	nc := s.server.Conn(t, key, nats.CustomInboxPrefix("_INBOX_"+user), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		r.add(err)
	}))
	return nc, r
}

// refusals collects the permission errors of one connection.
type refusals struct {
	mu   sync.Mutex
	errs []string
}

func (r *refusals) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err.Error())
}

func (r *refusals) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.errs, "\n")
}

// run runs a verb of the worker's binary as a user.
func (s *site) run(t *testing.T, user string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.worker, args...)
	cmd.Env = s.environ(user)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("entrust-worker %s as %s: %v\n%s", strings.Join(args, " "), user, err, out)
	}
	return string(out)
}

func (s *site) environ(user string) []string {
	env := []string{
		"NATS_URL=" + s.server.URL,
		"NATS_NKEY=" + s.seeds[user],
		"CERTCTL_ENTRUST_API_URL=" + s.gw.URL(),
		"CERTCTL_ENTRUST_CA_ID=" + s.gw.CAID(),
		"CERTCTL_ENTRUST_PROFILE_ID=" + s.gw.Profile(),
		"CERTCTL_ENTRUST_CLIENT_CERT_PATH=" + s.gw.ClientCert(),
		"CERTCTL_ENTRUST_CLIENT_KEY_PATH=" + s.gw.ClientKey(),
		"ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH=" + s.gw.ServerCA(),
		"ENTRUST_WORKER_GATEWAY_ENROLL_TIMEOUT=2s",
		"ENTRUST_WORKER_GATEWAY_TIMEOUT=2s",
		"ENTRUST_WORKER_GATEWAY_CONNECT_TIMEOUT=1s",
		"ENTRUST_WORKER_GATEWAY_EVENT_DELAY=100ms",
		"ENTRUST_WORKER_GATEWAY_FEED=10s",
		"ENTRUST_WORKER_POLL_FIRST=500ms",
		"ENTRUST_WORKER_AUDIT_ENABLED=on",
		"ENTRUST_WORKER_POLL_MAX=2s",
		"ENTRUST_WORKER_WATCHDOG_EVERY=10s",
		"ENTRUST_WORKER_HTTP_ADDR=" + s.http,
		"ENTRUST_WORKER_LOG_LEVEL=debug",
		"ENTRUST_WORKER_POLICY_FILE=" + s.policy,
	}
	if user == "worker" || user == "monitor" {
		env = append(env, "ENTRUST_WORKER_NATS_INBOX_PREFIX=_INBOX_"+user)
	}
	return env
}

// startWorker runs a worker. stop ends it and returns its log.
func (s *site) startWorker(t *testing.T) (stop func() string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(s.worker, "run")
	cmd.Env, cmd.Stderr = s.environ("worker"), &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() string {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(os.Interrupt)
			if err := cmd.Wait(); err != nil {
				t.Errorf("the worker ended with: %v", err)
			}
		}
		return log.String()
	}
	t.Cleanup(func() {
		if text := stop(); t.Failed() {
			t.Log(text)
		}
	})
	return stop
}

// page reads the status page of the worker, and fails if the worker could not read a part of it.
func (s *site) page(t *testing.T, serial string) {
	t.Helper()
	for path, want := range map[string]string{
		"/": "ENTRUST_AUDIT", "/orders?producer=shop": "shop.hold-2", "/orders?trouble=1": "shop.", "/orders?name=issue-1": "shop.issue-1",
		"/orders?serial=" + serial: "shop.issue-1", "/orders/shop/issue-1": "from the audit", "/orders/shop/reject-1": "from the dead letter",
	} {
		resp, err := http.Get("http://" + s.http + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) || strings.Contains(string(body), "be read") {
			t.Errorf("GET %s: %s, %v; want %q and nothing that cannot be read in:\n%s", path, resp.Status, err, want, body)
		}
	}
}

// order makes an order. The simulator decides by its name what to do with it.
func order(t *testing.T, name string) *entrustbus.Issue {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name + ".example"}, DNSNames: []string{name + ".example"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &entrustbus.Issue{ID: name, CSRDER: csr, PollMaxWaitSeconds: 30}
}

// The permissions allow everything that a worker, a producer, an operator and a monitor do.
func TestPermissionsSuffice(t *testing.T) {
	s := newSite(t)
	s.run(t, "operator", "provision")
	if out := s.run(t, "worker", "check"); strings.Contains(out, "failed") {
		t.Errorf("check as the worker:\n%s", out)
	}
	stopWorker := s.startWorker(t)

	nc, refused := s.connect(t, "shop")
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	ask := func(r entrustbus.Request, want entrustbus.Outcome) *entrustbus.Result {
		t.Helper()
		if _, err := client.Submit(ctx, r); err != nil {
			t.Fatal(err)
		}
		result, err := client.Wait(ctx, r.OrderID())
		if err != nil {
			t.Fatal(err)
		}
		if result.Outcome != want {
			t.Fatalf("%s: outcome %s (%v), want %s", r.OrderID(), result.Outcome, result.Error, want)
		}
		return result
	}

	request := order(t, "issue-1")
	issued := ask(request, entrustbus.OutcomeIssued)
	s.questions(ctx, t, client)
	s.certctl(ctx, t, nc)
	if again, err := client.Submit(ctx, request); err != nil || !again.Duplicate {
		t.Errorf("a duplicate: %+v, %v", again, err)
	}
	if _, err := client.Submit(ctx, order(t, "issue-1")); !errors.Is(err, entrustbus.ErrOtherContent) {
		t.Errorf("another request of the same id: %v", err)
	}
	// Its own certificate. The worker blocks the key from then on.
	ask(&entrustbus.Revoke{ID: "revoke-1", Serial: issued.Serial, Reason: "keyCompromise"}, entrustbus.OutcomeRevoked)
	ask(&entrustbus.Issue{ID: "issue-2", CSRDER: request.CSRDER}, entrustbus.OutcomeRejected)
	if out := s.run(t, "monitor", "keys", "ls"); !strings.Contains(out, "shop.revoke-1") {
		t.Errorf("keys ls as the monitor shows no blocked key:\n%s", out)
	}
	key := strings.Fields(s.run(t, "operator", "keys", "ls"))[4]
	s.run(t, "operator", "keys", "unblock", key)
	s.run(t, "operator", "keys", "block", "--reason", "lost", key)
	ask(order(t, "pending-1"), entrustbus.OutcomeIssued)
	ask(order(t, "reject-1"), entrustbus.OutcomeRejected)

	// An order that expires and is tracked, and an order that is cancelled.
	short := order(t, "hold-1")
	short.PollMaxWaitSeconds = 2
	expired := ask(short, entrustbus.OutcomeExpired)
	held := order(t, "hold-2")
	if _, err := client.Submit(ctx, held); err != nil {
		t.Fatal(err)
	}
	if err := s.until(ctx, t, "hold-2", func(o *entrustbus.Order) bool { return o.Phase == entrustbus.PhaseAwaiting }); err != nil {
		t.Fatal(err)
	}
	s.run(t, "operator", "orders", "poll", "shop.hold-2")
	ask(&entrustbus.Cancel{ID: "cancel-1", Order: "hold-2"}, entrustbus.OutcomeCancelled)
	if err := s.gw.Approve(expired.TrackingID); err != nil {
		t.Fatal(err)
	}
	ask(&entrustbus.Track{ID: "track-1", TrackingID: expired.TrackingID, CSRDER: short.CSRDER}, entrustbus.OutcomeIssued)

	// The worker looks up a lost answer, and shares a pause with the fleet. The pause lasts
	// 10 s, so that the watchdog scans meanwhile.
	if _, err := s.gw.AddFault(gatewaytest.Fault{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLostReply, CNPrefix: "issue-lost", Times: 1}); err != nil {
		t.Fatal(err)
	}
	ask(order(t, "issue-lost"), entrustbus.OutcomeIssued)
	if _, err := s.gw.AddFault(gatewaytest.Fault{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultThrottle, CNPrefix: "issue-slow", Times: 1, RetryAfter: time.Second}); err != nil {
		t.Fatal(err)
	}
	ask(order(t, "issue-slow"), entrustbus.OutcomeIssued)

	// A message that cannot be decoded becomes a dead letter, and an invalid request gets a result.
	if _, err := client.Lookup(ctx, "issue-1"); err != nil {
		t.Error(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	refusals, err := client.Refused(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := js.Publish(ctx, "entrust.request.shop.issue", []byte("not a request"))
	if err != nil {
		t.Fatal(err)
	}
	for refusal, err := range refusals {
		if err != nil || refusal.Sequence != ack.Sequence || refusal.Reason != "undecodable" {
			t.Errorf("a request that cannot be read: told %+v, %v, want sequence %d", refusal, err, ack.Sequence)
		}
		break
	}
	if _, err := js.Publish(ctx, "entrust.request.shop.issue", []byte(`{"id":"wrong-1","csr_pem":"none"}`)); err != nil {
		t.Error(err)
	}
	if result, err := client.Wait(ctx, "wrong-1"); err != nil || result.Outcome != entrustbus.OutcomeFailed {
		t.Errorf("a wrong request: %v, %v", result, err)
	}

	// The operator makes a durable consumer, and the producer reads its results with it.
	opNC, opRefused := s.connectOperator(t)
	opJS, err := jetstream.New(opNC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opJS.CreateConsumer(ctx, "ENTRUST_RESULTS", jetstream.ConsumerConfig{
		Durable: "shop", FilterSubject: "entrust.result.shop.*", AckPolicy: jetstream.AckExplicitPolicy,
	}); err != nil {
		t.Fatal(err)
	}
	durable, err := js.Consumer(ctx, "ENTRUST_RESULTS", "shop")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := durable.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(ctx); err != nil {
		t.Error(err)
	}

	// The events of the gateway are published too.
	if err := testbed.Until(ctx, "there are certificate events", func() (bool, error) {
		events, err := opJS.Stream(ctx, "ENTRUST_EVENTS")
		return err == nil && events.CachedInfo().State.Msgs > 0, err
	}); err != nil {
		t.Error(err)
	}

	s.page(t, issued.Serial)

	// The verbs of the monitor, and those of the operator.
	if out := s.run(t, "monitor", "check"); strings.Contains(out, "failed") {
		t.Errorf("check as the monitor:\n%s", out)
	}
	if out := s.run(t, "monitor", "orders", "show", "shop.pending-1"); !strings.Contains(out, "closed") {
		t.Errorf("orders show as the monitor:\n%s", out)
	}
	if out := s.run(t, "monitor", "orders", "ls"); !strings.Contains(out, "pending-1") {
		t.Errorf("orders ls as the monitor shows no pending-1:\n%s", out)
	}
	if out := s.run(t, "monitor", "dead", "ls", "--summary"); !strings.Contains(out, "undecodable") {
		t.Errorf("dead ls as the monitor shows nothing undecodable:\n%s", out)
	}
	if out := s.run(t, "operator", "orders", "ls"); !strings.Contains(out, "pending-1") {
		t.Errorf("orders ls shows no pending-1:\n%s", out)
	}
	if out := s.run(t, "operator", "dead", "ls", "--summary"); !strings.Contains(out, "undecodable") {
		t.Errorf("dead ls shows nothing undecodable:\n%s", out)
	}
	s.run(t, "operator", "dead", "replay", "--id", "reject-1", "--yes")
	if err := s.until(ctx, t, "reject-1", func(o *entrustbus.Order) bool { return o.Replay == 1 && o.Phase == entrustbus.PhaseClosed }); err != nil {
		t.Errorf("the replay of reject-1: %v", err)
	}
	s.run(t, "operator", "dead", "purge", "--reason", "undecodable", "--yes")

	s.run(t, "operator", "keys", "block", "--reason", "a test", strings.Repeat("ab", 32))
	// A mass revocation, and its records in the audit trail.
	s.run(t, "operator", "incident", "create", "leak", "--reason", "superseded", "--why", "a test")
	s.run(t, "operator", "incident", "load", "leak", "--producer", "shop", "--yes")
	s.run(t, "operator", "incident", "run", "leak", "--yes")
	if out := s.run(t, "monitor", "audit", "grep", "--producer", "incident-leak", "--decision", "revoked"); !strings.Contains(out, "a test") {
		t.Errorf("the audit trail of the incident:\n%s", out)
	}
	if out := s.run(t, "monitor", "audit", "grep", "--decision", "key blocked"); !strings.Contains(out, "a test") {
		t.Errorf("the audit trail of a blocked key:\n%s", out)
	}
	if out := s.run(t, "monitor", "audit", "verify"); !strings.Contains(out, " 0 faults") {
		t.Errorf("audit verify as the monitor:\n%s", out)
	}
	s.run(t, "operator", "request", "cancel", "--wait", "--json", "--producer", "shop", "--id", "cancel-2", "hold-2", "--give-up-after", "20s")

	// What a worker does only after a failure: it reads how often a message crashed workers,
	// and removes due messages that the server forgot.
	workerNC, workerRefused := s.connect(t, "worker")
	workerJS, err := jetstream.New(workerNC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := streams.Last(ctx, workerJS, "KV_ENTRUST_CONTROL", "$KV.ENTRUST_CONTROL.suspect.ENTRUST_REQUESTS.1"); !errors.Is(err, streams.ErrNoMessage) {
		t.Errorf("reading the tries of a message: %v", err)
	}
	if err := wakeup.New(workerJS, "ENTRUST_PARKED", entrustbus.Subjects{Prefix: "entrust"}).Discard(ctx, 1<<40); err != nil {
		t.Error(err)
	}

	for line := range strings.Lines(stopWorker()) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "ermissions") {
			t.Errorf("the worker says: %s", line)
		}
	}
	if text := refused.all() + opRefused.all() + workerRefused.all(); text != "" {
		t.Errorf("refused: %s", text)
	}
}

// questions asks the worker everything that a producer may ask.
func (s *site) questions(ctx context.Context, t *testing.T, client *entrustbus.Client) {
	t.Helper()
	if check, err := client.Check(ctx, ""); err != nil || !check.GatewayReady || check.CAID != s.gw.CAID() {
		t.Errorf("a check: %+v, %v", check, err)
	}
	if ca, err := client.CA(ctx, ""); err != nil || ca.ChainPEM == "" {
		t.Errorf("the certificates of the CA: %+v, %v", ca, err)
	}
	if answer, err := client.Policy(ctx, order(t, "policy-1")); err != nil || !answer.Allowed {
		t.Errorf("a policy check: %+v, %v", answer, err)
	}
	if o, err := client.Status(ctx, "issue-1"); err != nil || o.Phase != entrustbus.PhaseClosed || o.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("where an order is: %+v, %v", o, err)
	}
	if v, err := client.Version(ctx); err != nil || v.Worker == "" || v.PolicyDigest == "" {
		t.Errorf("a version: %+v, %v", v, err)
	}
	if _, err := client.Check(ctx, "no-such-ca"); !errors.Is(err, entrustbus.ErrUnknownCA) {
		t.Errorf("a check of an unknown CA: %v", err)
	}
	// A question names the subject of its answer. The worker may publish results, and must not
	// publish one for a producer. The worker takes the next question after this one.
	shop, _ := s.connect(t, "shop")
	if err := shop.PublishRequest("entrust.ask.shop.check", "entrust.result.web.forged-1", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := shop.RequestWithContext(ctx, "entrust.ask.shop.check", nil); err != nil {
		t.Fatal(err)
	}
	operator, _ := s.connectOperator(t)
	js, err := jetstream.New(operator)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := streams.Last(ctx, js, "ENTRUST_RESULTS", "entrust.result.web.forged-1"); !errors.Is(err, streams.ErrNoMessage) {
		t.Errorf("a result that an asker forged: %+v, %v", m, err)
	}
	// The operator sees the service of each worker.
	nc, refused := s.connectOperator(t)
	if msg, err := nc.RequestWithContext(ctx, "$SRV.STATS.entrust-worker", nil); err != nil || !bytes.Contains(msg.Data, []byte("entrust.ask.*.ca")) {
		t.Errorf("statistics of the service: %v, %s", err, refused.all())
	}
	s.suspensions(ctx, t, nc)
}

// suspensions has the operator suspend and resume, by the verbs and over the service.
func (s *site) suspensions(ctx context.Context, t *testing.T, operator *nats.Conn) {
	t.Helper()
	s.run(t, "operator", "suspend", "--producer", "web", "--reason", "a drill")
	s.orders(ctx, t, operator, entrustbus.TopicSuspend, `"changed":false`)
	if out := s.run(t, "monitor", "suspend", "--list"); !strings.Contains(out, "web") || !strings.Contains(out, "a drill") {
		t.Errorf("suspend --list as the monitor:\n%s", out)
	}
	s.orders(ctx, t, operator, entrustbus.TopicResume, `"changed":true`)
	s.run(t, "operator", "resume", "--producer", "web")
	for _, decision := range []string{"calls suspended", "calls resumed"} {
		if out := s.run(t, "monitor", "audit", "grep", "--decision", decision); strings.Count(out, "producer web") != 2 {
			t.Errorf("the audit trail has of what an operator did by the verb and over the service:\n%s", out)
		}
	}
}

// orders sends an operator's command about the producer web.
func (s *site) orders(ctx context.Context, t *testing.T, operator *nats.Conn, topic entrustbus.Topic, want string) {
	t.Helper()
	msg, err := operator.RequestWithContext(ctx, entrustbus.Subjects{}.AskOperator(topic), []byte(`{"producer":"web","operator":"ann"}`))
	if err != nil || !strings.Contains(string(msg.Data), want) {
		t.Errorf("%s: %v, %+v; want %s", topic, err, msg, want)
	}
}

// certctl calls every method of the issuer for certctl, as the producer.
func (s *site) certctl(ctx context.Context, t *testing.T, nc *nats.Conn) {
	t.Helper()
	i, err := issuer.New(nc, issuer.Config{Producer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: order(t, "issue-certctl").CSRDER})
	result, err := i.IssueCertificate(ctx, issuer.IssuanceRequest{CSRPEM: string(csr)})
	if err != nil {
		t.Fatalf("issuing: %v", err)
	}
	if status, err := i.GetOrderStatus(ctx, result.OrderID); err != nil || status.Status != issuer.StatusCompleted {
		t.Errorf("status: %+v, %v", status, err)
	}
	if err := i.RevokeCertificate(ctx, issuer.RevocationRequest{Serial: result.Serial}); err != nil {
		t.Errorf("revoking: %v", err)
	}
	if _, err := i.GetCACertPEM(ctx); err != nil {
		t.Errorf("the chain: %v", err)
	}
	if err := i.ValidateConfig(ctx, json.RawMessage(`{"producer":"shop"}`)); err != nil {
		t.Errorf("the configuration: %v", err)
	}
}

// connectOperator connects with the usual inbox prefix, as the nats command does.
func (s *site) connectOperator(t *testing.T) (*nats.Conn, *refusals) {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(s.seeds["operator"])
	if err != nil {
		t.Fatal(err)
	}
	r := &refusals{}
	return s.server.Conn(t, key, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { r.add(err) })), r
}

// until waits until reached is true for the record of an order of shop.
func (s *site) until(ctx context.Context, t *testing.T, id string, reached func(*entrustbus.Order) bool) error {
	t.Helper()
	nc, _ := s.connectOperator(t)
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, "ENTRUST_ORDERS")
	if err != nil {
		return err
	}
	w, err := kv.Watch(ctx, "shop."+id)
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-w.Updates():
			if e == nil {
				continue
			}
			if o, err := entrustbus.DecodeOrder(e.Value()); err == nil && reached(o) {
				return nil
			}
		}
	}
}

// The server refuses what one producer must not do to another.
func TestPermissionsRestrict(t *testing.T) {
	s := newSite(t)
	s.run(t, "operator", "provision")
	opNC, _ := s.connectOperator(t)
	opJS, err := jetstream.New(opNC)
	if err != nil {
		t.Fatal(err)
	}
	workerNC, _ := s.connect(t, "worker")
	workerJS, err := jetstream.New(workerNC)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for _, producer := range []string{"shop", "web"} {
		if _, err := opJS.CreateConsumer(ctx, "ENTRUST_RESULTS", jetstream.ConsumerConfig{
			Durable: producer, FilterSubject: "entrust.result." + producer + ".*", AckPolicy: jetstream.AckExplicitPolicy,
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := workerJS.Publish(ctx, "entrust.result."+producer+".order-1", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}

	// own is the control: the same use of the producer's own subject, which is allowed. Without
	// it no producer may use such a subject.
	publish := []struct{ name, subject, own, body string }{
		{name: "requests", subject: "entrust.request.web.issue", own: "entrust.request.shop.issue"},
		{name: "questions", subject: "entrust.ask.web.policy.issue"},
		{name: "suspending", subject: "entrust.ask.@operator.suspend"},
		{name: "resuming", subject: "entrust.ask.@operator.resume"},
		{name: "orders of others", subject: "entrust.ask.web.order.order-1"},
		{name: "discovery", subject: "$SRV.PING"},
		{name: "discovery of workers", subject: "$SRV.STATS.entrust-worker"},
		{name: "results of others", subject: "$JS.API.DIRECT.GET.ENTRUST_RESULTS.entrust.result.web.order-1", own: "$JS.API.DIRECT.GET.ENTRUST_RESULTS.entrust.result.shop.order-1"},
		{name: "results by number", subject: "$JS.API.DIRECT.GET.ENTRUST_RESULTS", body: `{"seq":2}`},
		{name: "results through the leader", subject: "$JS.API.STREAM.MSG.GET.ENTRUST_RESULTS", body: `{"last_by_subj":"entrust.result.web.order-1"}`},
		{
			name: "records of others", subject: "$JS.API.DIRECT.GET.KV_ENTRUST_ORDERS.$KV.ENTRUST_ORDERS.web.order-1",
			own: "$JS.API.DIRECT.GET.KV_ENTRUST_ORDERS.$KV.ENTRUST_ORDERS.shop.order-1",
		},
		{name: "a consumer of others", subject: "$JS.API.CONSUMER.MSG.NEXT.ENTRUST_RESULTS.web", own: "$JS.API.CONSUMER.MSG.NEXT.ENTRUST_RESULTS.shop", body: `{"batch":1,"no_wait":true}`},
		{name: "a consumer of one's own", subject: "$JS.API.CONSUMER.CREATE.ENTRUST_RESULTS.x", body: `{"stream_name":"ENTRUST_RESULTS","config":{"name":"x","ack_policy":"none"}}`},
		{name: "deleting a consumer", subject: "$JS.API.CONSUMER.DELETE.ENTRUST_RESULTS.web"},
		{name: "forging results", subject: "entrust.result.shop.order-2"},
		{name: "forging dead letters", subject: "entrust.dead.shop.invalid"},
		{name: "forging refusals", subject: "entrust.refused.web"},
		{name: "forging the audit trail", subject: "entrust.audit.shop"},
		{name: "an incident", subject: "$KV.ENTRUST_INCIDENTS.leak"},
		{name: "replays", subject: "entrust.operator.shop.issue", own: "entrust.request.shop.issue"},
		{name: "forging wake-ups", subject: "entrust.parked.shop.order-1"},
		{name: "forging due messages", subject: "entrust.due.poll.shop.order-1"},
		{name: "the ledger", subject: "$KV.ENTRUST_ORDERS.shop.order-1"},
		{name: "a pause of the fleet", subject: "$KV.ENTRUST_CONTROL.pause.x"},
		{name: "whose a certificate is", subject: "$KV.ENTRUST_CERTS.00.0a"},
		{name: "unblocking a key", subject: "$KV.ENTRUST_KEYS.00"},
		{name: "reading blocked keys", subject: "$JS.API.DIRECT.GET.KV_ENTRUST_KEYS.$KV.ENTRUST_KEYS.00"},
		{name: "requests of others in the queue", subject: "$JS.API.STREAM.MSG.GET.ENTRUST_REQUESTS", body: `{"seq":1}`},
		{name: "purging", subject: "$JS.API.STREAM.PURGE.ENTRUST_REQUESTS"},
	}
	for _, tt := range publish {
		t.Run(tt.name, func(t *testing.T) {
			nc, refused := s.connect(t, "shop")
			if tt.own != "" {
				if _, err := nc.Request(tt.own, []byte(tt.body), 5*time.Second); err != nil {
					t.Fatalf("its own, %s: %v", tt.own, err)
				}
			}
			if text := refused.all(); text != "" {
				t.Fatalf("refused too early: %s", text)
			}
			// The refusal comes before the answer to the flush.
			if err := nc.PublishRequest(tt.subject, nc.NewInbox(), []byte(tt.body)); err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			expectRefusal(t, refused, tt.subject)
		})
	}
	for _, subject := range []string{"entrust.result.web.*", "entrust.result.>", "entrust.refused.web", "entrust.refused.*", "_INBOX_web.>", "_INBOX_worker.>", "_INBOX.>", "entrust.request.>"} {
		t.Run("listening to "+subject, func(t *testing.T) {
			nc, refused := s.connect(t, "shop")
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			expectRefusal(t, refused, subject)
		})
	}
	t.Run("the worker provisions nothing", func(t *testing.T) {
		nc, refused := s.connect(t, "worker")
		if err := nc.PublishRequest("$JS.API.STREAM.UPDATE.ENTRUST_REQUESTS", nc.NewInbox(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		expectRefusal(t, refused, "$JS.API.STREAM.UPDATE.ENTRUST_REQUESTS")
	})
	for user, subjects := range map[string][]string{
		"operator": {"entrust.audit.shop", "entrust.audit.@worker", "entrust.result.shop.order-3", "entrust.dead.shop.invalid", "entrust.due.poll.shop.order-1", "$KV.ENTRUST_CERTS.00.0a"},
		"monitor": {
			"entrust.request.shop.issue", "entrust.operator.shop.issue", "entrust.ask.shop.check", "entrust.ask.@operator.suspend", "$SRV.PING", "entrust.parked.shop.order-1", "$KV.ENTRUST_ORDERS.shop.order-1", "$KV.ENTRUST_KEYS.00",
			"entrust.audit.shop", "$KV.ENTRUST_INCIDENTS.leak",
			"$JS.API.STREAM.PURGE.ENTRUST_DEAD", "$JS.API.CONSUMER.MSG.NEXT.ENTRUST_REQUESTS.worker-issue", "$JS.API.CONSUMER.CREATE.ENTRUST_RESULTS.x",
		},
		"worker": {"entrust.operator.shop.issue", "entrust.request.shop.issue", "entrust.due.poll.shop.order-1", "_INBOX_shop.x"},
	} {
		t.Run("what no "+user+" publishes", func(t *testing.T) {
			nc, refused := s.connect(t, user)
			for _, subject := range subjects {
				if err := nc.PublishRequest(subject, nc.NewInbox(), []byte("{}")); err != nil {
					t.Fatal(err)
				}
				expectRefusal(t, refused, subject)
			}
		})
	}
	// JetStream drops a message with an id that it has seen, even if another user published that message.
	t.Run("taking message ids", func(t *testing.T) {
		shop, _ := s.connect(t, "shop")
		shopJS, err := jetstream.New(shop)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"web.order-9", "web.order-9.0", "order-9", entrustbus.RequestMsgID("web", "order-9", 1)} {
			if _, err := shopJS.Publish(ctx, "entrust.request.shop.issue", []byte("{}"), jetstream.WithMsgID(id)); err != nil {
				t.Fatal(err)
			}
		}
		web, refused := s.connect(t, "web")
		client, err := entrustbus.New(web, entrustbus.ClientConfig{Producer: "web"})
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := client.Submit(ctx, order(t, "order-9"))
		if err != nil {
			t.Fatalf("web's request: %v; %s", err, refused.all())
		}
		stored, err := streams.Last(ctx, opJS, "ENTRUST_REQUESTS", "entrust.request.web.issue")
		if err != nil || stored.Sequence != receipt.Sequence {
			t.Errorf("web's request is said to be message %d, and its last one is %+v, %v", receipt.Sequence, stored, err)
		}
	})
	t.Run("asking as another", func(t *testing.T) {
		nc, _ := s.connect(t, "shop")
		client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "web"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Check(ctx, ""); !errors.Is(err, entrustbus.ErrNotAllowed) {
			t.Errorf("Check as web by shop's connection: %v, want ErrNotAllowed", err)
		}
		if client, err = entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Check(ctx, ""); !errors.Is(err, entrustbus.ErrNoWorker) {
			t.Errorf("Check without a worker: %v, want ErrNoWorker", err)
		}
	})
	t.Run("strangers", func(t *testing.T) {
		nc, err := nats.Connect(s.server.URL)
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("connecting without a key: %v, %v", nc, err)
		}
	})
}

// expectRefusal waits until the server has refused the use of a subject.
func expectRefusal(t *testing.T, refused *refusals, subject string) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if text := refused.all(); strings.Contains(text, "ermissions") && strings.Contains(text, `"`+subject+`"`) {
			return
		}
	}
	t.Errorf("the server did not refuse %s; it said: %q", subject, refused.all())
}
