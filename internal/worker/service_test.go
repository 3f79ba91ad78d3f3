package worker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/keys"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/status"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

const rules = `
producers:
  shop:
    kinds: [issue]
    names: {dns: {suffixes: [shop.example]}}
    max_validity: 90d
    longer_validity: cut
  store: {kinds: [issue]}
`

// asked is a running worker with a real server and a real simulator.
type asked struct {
	server *testbed.Server
	sim    *gatewaytest.Server
}

func newAsked(t *testing.T, sim gatewaytest.Config, rules string) *asked {
	t.Helper()
	a := &asked{server: testbed.Start(t, "")}
	js := a.server.JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	sim.Dir = t.TempDir()
	var err error
	if a.sim, err = gatewaytest.Start(sim); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.sim.Close() })
	cache, err := mtlscache.New(mtlscache.Config{CertFile: a.sim.ClientCert(), KeyFile: a.sim.ClientKey(), ServerCAFile: a.sim.ServerCA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	client, err := gateway.New(gateway.Config{URL: a.sim.URL(), CAID: a.sim.CAID()}, &http.Client{Transport: cache}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Config:  consumer.Config{Layout: layout, CAID: a.sim.CAID(), ProfileID: a.sim.Profile(), Gateway: a.sim.URL()},
		Version: "v1.2.3-rc.1", Credentials: func() (time.Time, error) { return cache.NotAfter(), cache.Check() },
	}
	if rules != "" {
		p, err := policy.Parse([]byte(rules))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Policy = func() *policy.Policy { return p }
	}
	w, err := New(cfg, js, client, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
	return a
}

func (a *asked) client(t *testing.T, producer string, enc entrustbus.Encoding) *entrustbus.Client {
	t.Helper()
	c, err := entrustbus.New(a.server.Conn(t), entrustbus.ClientConfig{Producer: producer, Encoding: enc})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually asks until the worker has started and reached its gateway.
func eventually[T any](t *testing.T, ask func(context.Context) (T, error), enough func(T) bool) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got T
	err := testbed.UntilEvery(ctx, 50*time.Millisecond, "the worker answers", func() (bool, error) {
		var err error
		if got, err = ask(ctx); errors.Is(err, entrustbus.ErrNoWorker) || errors.Is(err, entrustbus.ErrUnavailable) {
			return false, nil
		}
		return err == nil && enough(got), err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// ready asks for a check until the gateway is reached.
func ready(t *testing.T, c *entrustbus.Client) *entrustbus.Check {
	t.Helper()
	return eventually(t, func(ctx context.Context) (*entrustbus.Check, error) { return c.Check(ctx, "") },
		func(k *entrustbus.Check) bool { return k.GatewayReady })
}

func csr(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// One question of each topic, in both encodings.
func TestServiceAnswers(t *testing.T) {
	t.Parallel()
	a := newAsked(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, CAIDs: []string{"ca-1", "ca-2"}}, rules)
	for _, enc := range []entrustbus.Encoding{entrustbus.EncodingMsgpack, entrustbus.EncodingJSON} {
		check := ready(t, a.client(t, "store", enc))
		c := a.client(t, "shop", enc)
		if check.Version != entrustbus.Version || check.CAID != "ca-1" || check.ProfileID != a.sim.Profile() || check.Dialect != "cagw" || check.WorkerVersion != "v1.2.3-rc.1" ||
			check.Worker == "" || !check.CredentialsUsable || check.CredentialsNotAfter.Before(time.Now()) || check.Policy == "" || check.GatewayProblem != "" {
			t.Errorf("%s: check: %+v", enc, check)
		}
		for id, want := range map[string]string{"": "ca-1", "ca-2": "ca-2"} {
			ca, err := c.CA(t.Context(), id)
			if err != nil {
				t.Fatalf("%s: CA %q: %v", enc, id, err)
			}
			own, rest := pem.Decode([]byte(ca.CertificatePEM))
			above, _ := pem.Decode([]byte(ca.ChainPEM))
			if ca.CAID != want || own == nil || len(rest) > 0 || above == nil || len(ca.Warnings) > 0 {
				t.Fatalf("%s: CA %q: %+v", enc, id, ca)
			}
			cert, err := x509.ParseCertificate(own.Bytes)
			if err != nil || !cert.IsCA {
				t.Errorf("%s: the certificate of CA %q: %v, of a CA: %v", enc, id, err, cert != nil && cert.IsCA)
			}
			parent, err := x509.ParseCertificate(above.Bytes)
			if err != nil || cert.CheckSignatureFrom(parent) != nil {
				t.Errorf("%s: the chain of CA %q does not link: %v", enc, id, err)
			}
			if check, err := c.Check(t.Context(), id); err != nil || check.CAID != want {
				t.Errorf("%s: check of %q: %+v, %v", enc, id, check, err)
			}
		}
		for _, ask := range []func() error{
			func() error { _, err := c.CA(t.Context(), "ca-9"); return err },
			func() error { _, err := c.Check(t.Context(), "ca-9"); return err },
		} {
			if err := ask(); !errors.Is(err, entrustbus.ErrUnknownCA) {
				t.Errorf("%s: an unknown CA: %v, want ErrUnknownCA", enc, err)
			}
		}
		if _, err := c.CA(t.Context(), ".."); err == nil || errors.Is(err, entrustbus.ErrUnknownCA) {
			t.Errorf("%s: an id that cannot be one: %v, want a field error", enc, err)
		}

		allowed, err := c.Policy(t.Context(), &entrustbus.Issue{ID: "a", CSRDER: csr(t, "www.shop.example"), ValiditySeconds: 100 * 86400})
		if err != nil || !allowed.Allowed || allowed.ValiditySeconds != 90*86400 || allowed.CAID != "ca-1" || allowed.Policy != check.Policy {
			t.Errorf("%s: a request that is allowed: %+v, %v", enc, allowed, err)
		}
		refused, err := c.Policy(t.Context(), &entrustbus.Issue{ID: "b", CSRDER: csr(t, "www.web.example")})
		if err != nil || refused.Allowed || refused.Rule != "names.dns" || refused.Value != "www.web.example" || refused.Where == "" || !strings.Contains(refused.Message, "names.dns") {
			t.Errorf("%s: a request that is refused: %+v, %v", enc, refused, err)
		}
		if kind, err := c.Policy(t.Context(), &entrustbus.Revoke{ID: "c", Serial: "0a"}); err != nil || kind.Allowed || kind.Rule != "kinds" {
			t.Errorf("%s: a kind that is refused: %+v, %v", enc, kind, err)
		}
		// Only the subject identifies the producer.
		if other, err := a.client(t, "web", enc).Policy(t.Context(), &entrustbus.Issue{ID: "d", CSRDER: csr(t, "www.shop.example")}); err != nil || other.Allowed || other.Rule != "producer" {
			t.Errorf("%s: another producer: %+v, %v", enc, other, err)
		}
	}
	if n := a.sim.Stats().Enrolled; n != 0 {
		t.Errorf("%d enrollments by questions", n)
	}
}

// The answer includes the owner of a certificate, the state of a key, and whether
// requests must be signed.
func TestServiceKnowsOwnersAndKeys(t *testing.T) {
	t.Parallel()
	a := newAsked(t, gatewaytest.Config{}, "producers:\n  shop:\n    kinds: [issue, revoke]\n    names: {dns: {suffixes: [shop.example]}}\n    revoke: {serials: own}\n"+
		"    signatures: {keys: {a: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}}\n")
	js := a.server.JetStream(t)
	layout := streams.DefaultLayout()
	c := a.client(t, "shop", entrustbus.EncodingJSON)
	ready(t, c)
	request := csr(t, "www.shop.example")
	ask := func(r entrustbus.Request, rule string) {
		t.Helper()
		got, err := c.Policy(t.Context(), r)
		if err != nil || got.Allowed != (rule == "") || got.Rule != rule || !got.MustSign {
			t.Errorf("%s: %+v, %v; want the rule %q", r.OrderID(), got, err, rule)
		}
	}
	ask(&entrustbus.Issue{ID: "free", CSRDER: request}, "")
	ask(&entrustbus.Revoke{ID: "unknown", Serial: "0a"}, "revoke.serials")
	parsed, err := x509.ParseCertificateRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.New(js, layout.Keys).Add(t.Context(), keys.Block{Hash: keys.Hash(parsed.RawSubjectPublicKeyInfo), Reason: "lost"}); err != nil {
		t.Fatal(err)
	}
	for serial, producer := range map[string]string{"a": "shop", "b": "web"} {
		if err := certs.New(js, layout.Certs).Put(t.Context(), a.sim.CAID(), serial, certs.Certificate{Producer: producer}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	ask(&entrustbus.Issue{ID: "blocked", CSRDER: request}, "blocked_keys")
	ask(&entrustbus.Revoke{ID: "own", Serial: "0a"}, "")
	ask(&entrustbus.Revoke{ID: "theirs", Serial: "0b"}, "revoke.serials")
}

// Without a policy everything is allowed, and the answer says so.
func TestServiceAnswersWithoutAPolicy(t *testing.T) {
	t.Parallel()
	a := newAsked(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl}, "")
	c := a.client(t, "shop", entrustbus.EncodingMsgpack)
	if check := ready(t, c); check.Dialect != "certctl" || check.Policy != "" {
		t.Errorf("check: %+v", check)
	}
	answer, err := c.Policy(t.Context(), &entrustbus.Issue{ID: "a", CSRDER: csr(t, "any.example")})
	if err != nil || !answer.Allowed || answer.Policy != "" {
		t.Errorf("policy check: %+v, %v", answer, err)
	}
	// The certctl dialect has no certificates of CAs.
	if _, err := c.CA(t.Context(), ""); !errors.Is(err, entrustbus.ErrNotSupported) {
		t.Errorf("CA: %v, want ErrNotSupported", err)
	}
}

// The check reports a gateway that is away as an answer, not as an error. Certificates
// that were read before are available during a pause.
func TestServiceWhileTheGatewayIsAway(t *testing.T) {
	t.Parallel()
	a := newAsked(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, CAIDs: []string{"ca-1", "ca-2"}}, "")
	c := a.client(t, "shop", entrustbus.EncodingMsgpack)
	ready(t, c)
	known, err := c.CA(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	// The question for another CA causes the pause that it then meets.
	if _, err := a.sim.AddFault(gatewaytest.Fault{Op: gatewaytest.OpCA, Kind: gatewaytest.FaultThrottle, RetryAfter: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CA(t.Context(), "ca-2"); !errors.Is(err, entrustbus.ErrUnavailable) {
		t.Errorf("the certificates of another CA: %v, want ErrUnavailable", err)
	}
	calls := a.sim.Stats().Throttled
	check, err := c.Check(t.Context(), "")
	if err != nil || check.GatewayReady || !strings.Contains(check.GatewayProblem, "pause") {
		t.Errorf("check in a pause: %+v, %v", check, err)
	}
	if again, err := c.CA(t.Context(), ""); err != nil || again.CertificatePEM != known.CertificatePEM {
		t.Errorf("certificates that were read before: %v", err)
	}
	if _, err := c.CA(t.Context(), "ca-2"); !errors.Is(err, entrustbus.ErrUnavailable) {
		t.Errorf("the certificates of another CA in the pause: %v, want ErrUnavailable", err)
	}
	if n := a.sim.Stats().Throttled; n != calls {
		t.Errorf("%d calls in the pause", n-calls)
	}
}

// An unreadable question gets an answer that names the defect. A question whose reply
// subject has a meaning of its own is not answered.
func TestServiceRefusesQuestions(t *testing.T) {
	t.Parallel()
	a := newAsked(t, gatewaytest.Config{Dialect: gatewaytest.CAGW}, rules)
	ready(t, a.client(t, "shop", entrustbus.EncodingJSON))
	nc := a.server.Conn(t)
	for _, tc := range []struct{ name, subject, body, code, want string }{
		{"a body that is no question", "entrust.ask.shop.ca", `{"ca_id":7}`, "400", "ca_id"},
		{"a request that breaks the contract", "entrust.ask.shop.policy.issue", `{"id":"a"}`, "400", "csr_pem"},
		{"a kind for operators", "entrust.ask.shop.policy.complete", `{"id":"a"}`, "400", "kind"},
		{"a producer that cannot be one", "entrust.ask.sh*p.check", ``, "400", "producer"},
		{"an unknown CA", "entrust.ask.shop.check", `{"ca_id":"ca-9"}`, "404", "ca_id"},
	} {
		reply, err := nc.Request(tc.subject, []byte(tc.body), 10*time.Second)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if code, text := reply.Header.Get(entrustbus.HeaderServiceErrorCode), reply.Header.Get(entrustbus.HeaderServiceError); code != tc.code || !strings.Contains(text, tc.want) {
			t.Errorf("%s: answered %s %q, want %s and %q in it", tc.name, code, text, tc.code, tc.want)
		}
	}
	forged, err := nc.SubscribeSync("entrust.result.web.order-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("entrust.ask.shop.check", "entrust.result.web.order-1", nil); err != nil {
		t.Fatal(err)
	}
	// An endpoint answers questions in order: this answer comes after the earlier ones.
	if _, err := nc.Request("entrust.ask.shop.check", nil, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if msg, err := forged.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("the worker published to %s", msg.Subject)
	}
}

// Too many questions of one producer are refused, while those of another are answered.
func TestServiceBoundsAProducer(t *testing.T) {
	t.Parallel()
	a := newAsked(t, gatewaytest.Config{Dialect: gatewaytest.CAGW}, rules)
	ready(t, a.client(t, "web", entrustbus.EncodingJSON))
	nc := a.server.Conn(t)
	inbox := nc.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	const questions = 200
	for range questions {
		if err := nc.PublishRequest("entrust.ask.shop.policy.cancel", inbox, []byte(`{"id":"a","order":"b"}`)); err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	for range questions {
		msg, err := answers.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if msg.Header.Get(entrustbus.HeaderServiceErrorCode) == entrustbus.AnswerTooMany {
			refused++
		}
	}
	if refused == 0 {
		t.Errorf("none of %d questions is refused", questions)
	}
	ready(t, a.client(t, "web", entrustbus.EncodingJSON))
}

// The micro service shows name, version, statistics and schemas, as the nats command reads them.
func TestServiceIsDiscovered(t *testing.T) {
	t.Parallel()
	a := newAsked(t, gatewaytest.Config{Dialect: gatewaytest.CAGW}, rules)
	c := a.client(t, "shop", entrustbus.EncodingJSON)
	ready(t, c)
	nc := a.server.Conn(t)
	read := func(verb micro.Verb, into any) {
		t.Helper()
		subject, err := micro.ControlSubject(verb, status.ServiceName, "")
		if err != nil {
			t.Fatal(err)
		}
		msg, err := nc.Request(subject, nil, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(msg.Data, into); err != nil {
			t.Fatalf("%s: %v: %s", verb, err, msg.Data)
		}
	}
	var stats micro.Stats
	read(micro.StatsVerb, &stats)
	if stats.Name != "entrust-worker" || stats.Version != "1.2.3" || stats.Metadata["version"] != "v1.2.3-rc.1" || len(stats.Endpoints) != 7 {
		t.Fatalf("statistics: %+v", stats)
	}
	for _, e := range stats.Endpoints {
		if e.Name == "check" && (e.Subject != "entrust.ask.*.check" || e.NumRequests == 0) {
			t.Errorf("the endpoint check: %+v", e)
		}
		var own struct {
			GatewayReady bool   `json:"gateway_ready"`
			Policy       string `json:"policy"`
		}
		if err := json.Unmarshal(e.Data, &own); err != nil || !own.GatewayReady || len(own.Policy) != 32 {
			t.Errorf("%s: statistics hold %s, %v", e.Name, e.Data, err)
		}
	}
	var info micro.Info
	read(micro.InfoVerb, &info)
	for _, e := range info.Endpoints {
		for _, of := range []string{"request_schema", "response_schema"} {
			schema := e.Metadata[of]
			if schema == "" && of == "request_schema" && (e.Name == "order" || e.Name == "version") {
				continue // an empty body
			}
			var parsed map[string]any
			if err := json.Unmarshal([]byte(schema), &parsed); err != nil || parsed["title"] == "" {
				t.Errorf("%s: its %s is %q, %v", e.Name, of, schema, err)
			}
		}
		if operators := e.Name == "suspend" || e.Name == "resume"; (e.Metadata["for"] == "operators") != operators {
			t.Errorf("%s is for %s", e.Name, e.Metadata["for"])
		}
	}
	version, err := c.Version(t.Context())
	if err != nil || version.WorkerVersion != "v1.2.3-rc.1" || version.Worker != info.Metadata["worker"] || len(version.PolicyDigest) != 64 {
		t.Errorf("version: %+v, %v", version, err)
	}
}

// A worker reports the phase of a producer's order and why it waits, also while an
// operator suspends its calls.
func TestServiceOfOrdersAndSuspensions(t *testing.T) {
	t.Parallel()
	a := newAsked(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl, PendingFraction: 1, ApproveAfter: time.Hour}, "")
	shop := a.client(t, "shop", entrustbus.EncodingMsgpack)
	ready(t, shop)
	nc := a.server.Conn(t)
	order := func(topic entrustbus.Topic, body string) (got entrustbus.Suspended, problem string) {
		t.Helper()
		reply, err := nc.Request(entrustbus.Subjects{}.AskOperator(topic), []byte(body), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if problem = reply.Header.Get(entrustbus.HeaderServiceError); problem != "" {
			return got, reply.Header.Get(entrustbus.HeaderServiceErrorCode) + " " + problem
		}
		if err := entrustbus.DecodeAnswer(entrustbus.EncodingJSON, reply.Data, &got); err != nil {
			t.Fatal(err)
		}
		return got, ""
	}
	status := func(id string, enough func(*entrustbus.OrderStatus) bool) {
		t.Helper()
		eventually(t, func(ctx context.Context) (*entrustbus.OrderStatus, error) {
			o, err := shop.Status(ctx, id)
			if errors.Is(err, entrustbus.ErrNoOrder) {
				return new(entrustbus.OrderStatus), nil
			}
			return o, err
		}, enough)
	}
	submit := func(id string) {
		t.Helper()
		if _, err := shop.Submit(t.Context(), &entrustbus.Issue{ID: id, CSRDER: csr(t, id+".example")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := shop.Status(t.Context(), "never"); !errors.Is(err, entrustbus.ErrNoOrder) {
		t.Errorf("an order that was never asked for: %v, want ErrNoOrder", err)
	}
	submit("first")
	status("first", func(o *entrustbus.OrderStatus) bool {
		return o.Phase == entrustbus.PhaseAwaiting && o.Waits == "awaiting approval at the gateway" && o.TrackingID != "" && o.ID == "first" && o.Kind == entrustbus.KindIssue &&
			o.Submissions == 1 && o.CAID == a.sim.CAID() && !o.Deadline.IsZero() && !o.UpdatedAt.IsZero()
	})
	if _, err := a.client(t, "web", entrustbus.EncodingJSON).Status(t.Context(), "first"); !errors.Is(err, entrustbus.ErrNoOrder) {
		t.Errorf("another producer's order: %v, want ErrNoOrder", err)
	}

	const body = `{"producer":"shop","operator":"ann","reason":"a drill"}`
	if got, problem := order(entrustbus.TopicSuspend, body); problem != "" || !got.Changed || got.About != "producer shop, by ann: a drill" {
		t.Fatalf("suspending: %+v, %s", got, problem)
	}
	const waits = "an operator suspended producer shop: a drill"
	status("first", func(o *entrustbus.OrderStatus) bool { return o.Waits == waits })
	submit("second")
	status("second", func(o *entrustbus.OrderStatus) bool {
		return o.Phase == entrustbus.PhaseUnaccepted && o.Waits == waits && o.Submissions == 0
	})
	if got, problem := order(entrustbus.TopicSuspend, `{"producer":"shop","operator":"bob"}`); problem != "" || got.Changed || got.Since.IsZero() || got.About != "producer shop, by ann: a drill" {
		t.Errorf("suspending again: %+v, %s", got, problem)
	}
	for _, wrong := range []struct{ body, want string }{
		{`{"operator":"ann"}`, "400 all: is missing"},
		{`{"lane":"isue","operator":"ann"}`, "unknown lane"},
		{`{"lane":"issue"}`, "400 operator"},
		{`{"lane":"issue","procuder":"shop","operator":"ann"}`, "procuder"},
	} {
		if got, problem := order(entrustbus.TopicSuspend, wrong.body); !strings.Contains(problem, wrong.want) || !strings.HasPrefix(problem, "400 ") {
			t.Errorf("suspending %s: %+v, %q; want %q", wrong.body, got, problem, wrong.want)
		}
	}
	if got, problem := order(entrustbus.TopicResume, `{"producer":"web","operator":"ann"}`); problem != "" || got.Changed {
		t.Errorf("resuming what was not suspended: %+v, %s", got, problem)
	}
	if got, problem := order(entrustbus.TopicResume, body); problem != "" || !got.Changed || got.Since.IsZero() {
		t.Errorf("resuming: %+v, %s", got, problem)
	}
	status("second", func(o *entrustbus.OrderStatus) bool {
		return o.Phase == entrustbus.PhaseAwaiting && o.Waits == "awaiting approval at the gateway"
	})
}
