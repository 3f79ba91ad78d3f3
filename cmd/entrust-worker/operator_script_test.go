package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// TestOperatorScripts runs the scripts of the verbs that look after orders. Beside testscript's own commands they have
//
//	bus                     starts a server with all streams and sets NATS_URL to it
//	bus-restart             stops it and starts it again
//	gateway [pending|cagw]  starts a simulator that issues at once, or waits for approval, or speaks cagw
//	approve                 approves all that waits
//	refuse CN               has it refuse orders whose common name begins so; none: no more
//	enrollments N           expects that it made so many orders
//	publish SUBJECT BODY    publishes anything as a request
//	publish-file SUBJECT FILE
//	                        publishes a file as a request
//	operator-request SUBJECT FILE GENERATION
//	                        publishes a JSON file as an operator's request
//	csr FILE CN             writes a certificate request
//	to-der FROM TO          writes PEM as DER
//	certificate FILE NAME   expects the name in it, and sets SERIAL to its number
//	record KEY=VALUE...     writes a ledger record
//	record-until PATTERN FILE KEY=VALUE...
//	                        writes one again and again until the file matches
//	wakeup KEY=VALUE...     schedules the wake-up of an order
//	due SUBJECT             waits for a due message
//	letter KEY=VALUE...     publishes a dead letter
//	odd-letter              publishes what is no dead letter where they are
//	breaker OP CA CAUSE     opens a breaker of the fleet
//	requests N              expects so many messages in the stream of requests
//	last-request PATTERN    matches its last message: subject, headers, body
//	eventually PATTERN CMD  runs a command until its output matches
//	exits CODE CMD          as exec, with the exit code that must come out
func TestOperatorScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Files: scripts(t, "request", "orders", "dead", "keys", "audit", "incident", "renew", "suspend", "status"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "xdg"))
			// The race detector's own pause at the end of each process.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			layout := streams.DefaultLayout()
			layout.Audited, layout.AuditMaxBytes = true, 64<<20
			env.Values[stageKey{}] = &stage{layout: layout}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"bus": stageBus, "bus-restart": restartBus, "gateway": stageGateway, "approve": approve, "refuse": refuse, "enrollments": enrollments, "publish": publish, "publish-file": publishFile, "operator-request": operatorRequest, "csr": writeCSR, "to-der": toDER, "certificate": certificate,
			"record": writeRecord, "record-until": recordUntil, "wakeup": writeWakeup, "due": waitDue, "letter": writeLetter, "odd-letter": oddLetter, "breaker": openBreaker,
			"requests": countRequests, "last-request": lastRequest, "eventually": eventually, "exits": exits,
		},
	})
}

// stage is what one script has started.
type stage struct {
	server  *testbed.Server
	js      jetstream.JetStream
	layout  streams.Layout
	gateway *gatewaytest.Server
	letters int
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

func stageBus(ts *testscript.TestScript, _ bool, _ []string) {
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), "nats-")
	ts.Check(err)
	srv, err := testbed.Run(testbed.Config{Dir: dir})
	ts.Check(err)
	ts.Defer(srv.Stop)
	ts.Setenv("NATS_URL", srv.URL)
	nc, err := srv.Connect()
	ts.Check(err)
	ts.Defer(nc.Close)
	s := stageOf(ts)
	s.server = srv
	s.js, err = jetstream.New(nc)
	ts.Check(err)
	_, err = streams.Provision(context.Background(), s.js, s.layout)
	ts.Check(err)
}

func restartBus(ts *testscript.TestScript, _ bool, _ []string) {
	s := stageOf(ts)
	ts.Check(s.server.Restart())
	for end := time.Now().Add(time.Minute); !s.js.Conn().IsConnected(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("no connection to the server that was started again")
		}
	}
}

func recordUntil(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		writeRecord(ts, false, args[2:])
		if text, err := os.ReadFile(ts.MkAbs(args[1])); err == nil && want.Match(text) {
			return
		}
	}
	ts.Fatalf("%s never came into %s", args[0], args[1])
}

func stageGateway(ts *testscript.TestScript, _ bool, args []string) {
	cfg := gatewaytest.Config{Dir: filepath.Join(ts.Getenv("WORK"), "gateway"), Dialect: gatewaytest.CertCtl}
	switch {
	case len(args) == 0:
	case args[0] == "pending":
		cfg.PendingFraction = 1
	case args[0] == "cagw":
		cfg.Dialect = gatewaytest.CAGW
	}
	gw, err := gatewaytest.Start(cfg)
	ts.Check(err)
	ts.Defer(func() { _ = gw.Close() })
	stageOf(ts).gateway = gw
	ts.Setenv("CERTCTL_ENTRUST_API_URL", gw.URL())
	ts.Setenv("CERTCTL_ENTRUST_CA_ID", gw.CAID())
	ts.Setenv("CERTCTL_ENTRUST_PROFILE_ID", gw.Profile())
	ts.Setenv("CERTCTL_ENTRUST_CLIENT_CERT_PATH", gw.ClientCert())
	ts.Setenv("CERTCTL_ENTRUST_CLIENT_KEY_PATH", gw.ClientKey())
	ts.Setenv("ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH", gw.ServerCA())
	ts.Setenv("ENTRUST_WORKER_HTTP_ADDR", "127.0.0.1:0")
}

func approve(ts *testscript.TestScript, _ bool, _ []string) {
	_, err := stageOf(ts).gateway.ApproveAll(0)
	ts.Check(err)
}

func refuse(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "none" {
		ts.Check(stageOf(ts).gateway.SetFaults())
		return
	}
	ts.Check(stageOf(ts).gateway.SetFaults(gatewaytest.Fault{
		Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 422, Code: "cagw-4018", Message: "not allowed", CNPrefix: args[0],
	}))
}

func enrollments(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for range stageOf(ts).gateway.AllEnrollments() {
		n++
	}
	if fmt.Sprint(n) != args[0] {
		ts.Fatalf("the gateway made %d orders, want %s", n, args[0])
	}
}

func publish(ts *testscript.TestScript, _ bool, args []string) {
	_, err := stageOf(ts).js.Publish(context.Background(), args[0], []byte(args[1]))
	ts.Check(err)
}

func publishFile(ts *testscript.TestScript, _ bool, args []string) {
	_, err := stageOf(ts).js.Publish(context.Background(), args[0], []byte(ts.ReadFile(args[1])))
	ts.Check(err)
}

func operatorRequest(ts *testscript.TestScript, _ bool, args []string) {
	_, err := stageOf(ts).js.PublishMsg(context.Background(), &nats.Msg{
		Subject: args[0], Data: []byte(ts.ReadFile(args[1])), Header: nats.Header{"Entrust-Replay": {args[2]}},
	})
	ts.Check(err)
}

func writeCSR(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: args[1]}, DNSNames: []string{args[1]},
	}, key)
	ts.Check(err)
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), 0o600))
}

func decodePEM(ts *testscript.TestScript, file string) []byte {
	block, _ := pem.Decode([]byte(ts.ReadFile(file)))
	if block == nil {
		ts.Fatalf("%s holds no PEM", file)
	}
	return block.Bytes
}

func toDER(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), decodePEM(ts, args[0]), 0o600))
}

func certificate(ts *testscript.TestScript, _ bool, args []string) {
	cert, err := x509.ParseCertificate(decodePEM(ts, args[0]))
	ts.Check(err)
	ts.Check(cert.VerifyHostname(args[1]))
	ts.Setenv("SERIAL", cert.SerialNumber.Text(16))
}

func countRequests(ts *testscript.TestScript, _ bool, args []string) {
	s := stageOf(ts)
	st, err := s.js.Stream(context.Background(), s.layout.Requests)
	ts.Check(err)
	if got := fmt.Sprint(st.CachedInfo().State.Msgs); got != args[0] {
		ts.Fatalf("there are %s requests, want %s", got, args[0])
	}
}

func lastRequest(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	m, err := streams.Last(context.Background(), s.js, s.layout.Requests, ">")
	ts.Check(err)
	text := m.Subject + "\n" + fmt.Sprint(m.Header) + "\n" + string(m.Data)
	if regexp.MustCompile(args[0]).MatchString(text) == neg {
		ts.Fatalf("match of %s is %t in\n%s", args[0], neg, text)
	}
}

func waitDue(ts *testscript.TestScript, _ bool, args []string) {
	s := stageOf(ts)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		_, err := streams.Last(context.Background(), s.js, s.layout.Parked, args[0])
		if err == nil {
			return
		}
		if !errors.Is(err, streams.ErrNoMessage) {
			ts.Check(err)
		}
	}
	ts.Fatalf("no due message came on %s", args[0])
}

func eventually(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	var last string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if last = ts.ReadFile("stdout") + ts.ReadFile("stderr"); want.MatchString(last) {
			return
		}
		if err != nil {
			last += err.Error()
		}
	}
	ts.Fatalf("%s never came; last:\n%s", args[0], last)
}
