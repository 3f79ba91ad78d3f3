package main

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"entrust-worker": main})
}

// TestScripts runs the scripts of the verbs that need no orders. Beside testscript's own
// commands they have
//
//	nats-server [configuration]   starts one and sets NATS_URL to it
//	gateway [certctl|cagw|ecs]    starts a simulator and sets the CERTCTL_ENTRUST_ names to it
//	gateway-down, gateway-up      makes it refuse connections, and answer again
//	guard                         starts a proxy in front of it that refuses the path of enrollments
//	short-pair DURATION           replaces the client's key pair by one that ends so soon
//	break-key                     replaces the client's key by a file without one
//	free-addr NAME                sets NAME to an address nobody listens on
//	rotate                        replaces the client's key pair
//	until URL PATTERN             waits until the status and body of a GET match
//	logged FILE PATTERN           waits until a file matches
//	signal TERM|HUP FILE          signals the process whose id the file holds
//	nats-stream NAME SUBJECT      creates a stream
//	nats-rm NAME                  deletes one
//	exits CODE PROGRAM ARGS...    as exec, with the exit code that must come out
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Files: scripts(t, "run", "check", "config", "connect", "gateway", "policy", "provision", "usage"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "xdg"))
			// The race detector's own pause at the end of each process.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Values[partsKey{}] = &parts{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"nats-server":  startNATS,
			"gateway":      startGateway,
			"gateway-down": func(ts *testscript.TestScript, _ bool, _ []string) { partsOf(ts).gateway.SetDown(true) },
			"gateway-up":   func(ts *testscript.TestScript, _ bool, _ []string) { partsOf(ts).gateway.SetDown(false) },
			"guard":        startGuard,
			"short-pair":   shortPair,
			"break-key": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(os.WriteFile(partsOf(ts).gateway.ClientKey(), []byte("no key"), 0o600))
			},
			"nats-stream": makeStream,
			"nats-rm":     removeStream,
			"exits":       exits,
			"signal":      sendSignal,
			"free-addr":   freeAddr,
			"until":       until,
			"logged":      logged,
			"rotate":      func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(partsOf(ts).gateway.RotateClient()) },
		},
	})
}

// scripts are those of the packages.
func scripts(t *testing.T, packages ...string) []string {
	t.Helper()
	var all []string
	for _, p := range packages {
		found, err := filepath.Glob(filepath.Join(p, "testdata", "*.txtar"))
		if err != nil || len(found) == 0 {
			t.Fatalf("package %s has no scripts: %v", p, err)
		}
		all = append(all, found...)
	}
	return all
}

// parts are what one script has started.
type parts struct{ gateway *gatewaytest.Server }

type partsKey struct{}

func partsOf(ts *testscript.TestScript) *parts { return ts.Value(partsKey{}).(*parts) }

func startNATS(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), "nats-")
	ts.Check(err)
	srv, err := testbed.Run(testbed.Config{Dir: dir, Extra: strings.Join(args, "\n")})
	ts.Check(err)
	ts.Defer(srv.Stop)
	ts.Setenv("NATS_URL", srv.URL)
}

func makeStream(ts *testscript.TestScript, _ bool, args []string) {
	onJetStream(ts, func(js jetstream.JetStream) error {
		_, err := js.CreateStream(context.Background(), jetstream.StreamConfig{Name: args[0], Subjects: args[1:]})
		return err
	})
}

func removeStream(ts *testscript.TestScript, _ bool, args []string) {
	onJetStream(ts, func(js jetstream.JetStream) error { return js.DeleteStream(context.Background(), args[0]) })
}

func onJetStream(ts *testscript.TestScript, do func(jetstream.JetStream) error) {
	nc, err := nats.Connect(ts.Getenv("NATS_URL"))
	ts.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	ts.Check(err)
	ts.Check(do(js))
}

func startGateway(ts *testscript.TestScript, _ bool, args []string) {
	cfg := gatewaytest.Config{Dir: filepath.Join(ts.Getenv("WORK"), "gateway"), Dialect: gatewaytest.CertCtl}
	if len(args) > 0 {
		cfg.Dialect, cfg.ECS = gatewaytest.Dialect(args[0]), args[0] == "ecs"
	}
	if cfg.ECS {
		cfg.Dialect = gatewaytest.CAGW
	}
	gw, err := gatewaytest.Start(cfg)
	ts.Check(err)
	ts.Defer(func() { _ = gw.Close() })
	partsOf(ts).gateway = gw
	ts.Setenv("CERTCTL_ENTRUST_API_URL", gw.URL())
	ts.Setenv("CERTCTL_ENTRUST_CA_ID", gw.CAID())
	ts.Setenv("CERTCTL_ENTRUST_CLIENT_CERT_PATH", gw.ClientCert())
	ts.Setenv("CERTCTL_ENTRUST_CLIENT_KEY_PATH", gw.ClientKey())
	ts.Setenv("ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH", gw.ServerCA())
}

// startGuard starts a reverse proxy in front of the gateway. The proxy takes any client,
// and refuses the path of enrollments, as one does that wants a certificate there alone.
func startGuard(ts *testscript.TestScript, _ bool, _ []string) {
	gw := partsOf(ts).gateway
	inside, err := mtlscache.New(mtlscache.Config{CertFile: gw.ClientCert(), KeyFile: gw.ClientKey(), ServerCAFile: gw.ServerCA()})
	ts.Check(err)
	ts.Defer(inside.Close)
	target, err := url.Parse(gw.URL())
	ts.Check(err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = inside
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/enrollments") {
			http.Error(w, "client certificate required", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	ts.Defer(srv.Close)
	path := filepath.Join(ts.Getenv("WORK"), "guard.pem")
	ts.Check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	ts.Setenv("CERTCTL_ENTRUST_API_URL", srv.URL)
	ts.Setenv("ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH", path)
}

// shortPair replaces the client's pair by one that ends soon.
func shortPair(ts *testscript.TestScript, _ bool, args []string) {
	validity, err := time.ParseDuration(args[0])
	ts.Check(err)
	gw := partsOf(ts).gateway
	cert, key, err := gw.IssueClient(validity)
	ts.Check(err)
	ts.Check(os.WriteFile(gw.ClientCert(), cert, 0o600))
	ts.Check(os.WriteFile(gw.ClientKey(), key, 0o600))
}

func freeAddr(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

func until(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[1])
	client := &http.Client{Timeout: 5 * time.Second}
	var last string
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		answer, err := client.Get(args[0])
		if err != nil {
			last = err.Error()
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if last = answer.Status + "\n" + string(body); want.MatchString(last) {
			return
		}
	}
	ts.Fatalf("%s: no match for %s in\n%s", args[0], args[1], last)
}

func logged(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[1])
	var text []byte
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if text, _ = os.ReadFile(ts.MkAbs(args[0])); want.Match(text) {
			return
		}
	}
	ts.Fatalf("%s: no match for %s in\n%s", args[0], args[1], text)
}

// sendSignal does what testscript's own kill does for no signal but KILL and INT.
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[1])))
	ts.Check(err)
	process, err := os.FindProcess(pid)
	ts.Check(err)
	sig, ok := map[string]os.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}[args[0]]
	if !ok {
		ts.Fatalf("unknown signal %q", args[0])
	}
	ts.Check(process.Signal(sig))
}

// exits runs a program and compares its exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
