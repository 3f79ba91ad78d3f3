package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// guide tells people where everything is and what to try, and keeps the files
// that make the commands short.
type guide struct {
	dir, natsURL           string
	gatewayURL, controlURL string
	webURL                 string // of the workers here; "" without
	certPath, keyPath      string
	env                    string // path of the file to source
	hello, hold            string // paths of certificate requests: one issued at once, one that waits
	request                string // path of a request to publish by hand
	workers                int
}

// newGuide writes the files.
func (s *sandbox) newGuide(o *options) (*guide, error) {
	g := &guide{
		dir: s.folder.path, natsURL: s.bus.url(), gatewayURL: s.gw.URL(), controlURL: s.gw.AdminURL(),
		certPath: s.gw.ClientCert(), keyPath: s.gw.ClientKey(),
		env: filepath.Join(s.folder.path, "env"), request: filepath.Join(s.folder.path, "request.json"),
		hello: filepath.Join(s.folder.path, "hello.csr"), hold: filepath.Join(s.folder.path, "hold.csr"),
		workers: o.workers,
	}
	if s.web != nil {
		g.webURL = s.web.url
	}
	if err := os.WriteFile(g.env, s.environment(o), 0o600); err != nil {
		return nil, fmt.Errorf("writing the environment: %w", err)
	}
	for _, f := range []struct{ path, name string }{{g.hello, "issue-hello.sandbox.example"}, {g.hold, "hold-hello.sandbox.example"}} {
		if err := writeCSR(f.path, f.name); err != nil {
			return nil, err
		}
	}
	if err := writeRequest(g.request, g.hello); err != nil {
		return nil, err
	}
	return g, nil
}

// environment is what a worker started by hand has to know, as shell exports.
func (s *sandbox) environment(o *options) []byte {
	t := o.tuning()
	var b bytes.Buffer
	for _, v := range []struct{ name, value string }{
		{"NATS_URL", s.bus.url()},
		{"CERTCTL_ENTRUST_API_URL", s.gw.URL()},
		{"CERTCTL_ENTRUST_CLIENT_CERT_PATH", s.gw.ClientCert()},
		{"CERTCTL_ENTRUST_CLIENT_KEY_PATH", s.gw.ClientKey()},
		{"CERTCTL_ENTRUST_CA_ID", s.gw.CAID()},
		{"CERTCTL_ENTRUST_PROFILE_ID", s.gw.Profile()},
		{"CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS", strconv.Itoa(int(t.maxWait.Seconds()))},
		{"ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH", s.gw.ServerCA()},
		{"ENTRUST_WORKER_GATEWAY_DIALECT", o.dialect},
		{"ENTRUST_WORKER_GATEWAY_ENROLL_TIMEOUT", t.enrollTimeout.String()},
		{"ENTRUST_WORKER_GATEWAY_TIMEOUT", t.timeout.String()},
		{"ENTRUST_WORKER_GATEWAY_CONNECT_TIMEOUT", t.connectTimeout.String()},
		{"ENTRUST_WORKER_GATEWAY_EVENT_DELAY", t.eventDelay.String()},
		{"ENTRUST_WORKER_POLL_FIRST", t.schedule.First.String()},
		{"ENTRUST_WORKER_POLL_MAX", t.schedule.Max.String()},
		{"ENTRUST_WORKER_ACK_WAIT", s.bus.layout.AckWait.String()},
		{"ENTRUST_WORKER_DRAIN", t.drain.String()},
		{"ENTRUST_WORKER_ISSUE_CONCURRENCY", strconv.Itoa(t.issue)},
		{"ENTRUST_WORKER_REVOKE_CONCURRENCY", strconv.Itoa(t.revoke)},
		{"ENTRUST_WORKER_POLL_CONCURRENCY", strconv.Itoa(t.poll)},
	} {
		fmt.Fprintf(&b, "export %s=%s\n", v.name, quote(v.value))
	}
	return b.Bytes()
}

// writeCSR keeps a certificate request for a name, unless there is one.
func writeCSR(path, name string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	csr, err := oracle.NewCSR(name)
	if err == nil {
		err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing a certificate request to try: %w", err)
	}
	return nil
}

// writeRequest keeps one issuance request as JSON, unless there is one.
func writeRequest(path, csrPath string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	csr, err := os.ReadFile(csrPath)
	if err != nil {
		return fmt.Errorf("writing a request to try: %w", err)
	}
	data, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, &entrustbus.Issue{ID: "hello-1", CSRPEM: string(csr)})
	if err == nil {
		err = os.WriteFile(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing a request to try: %w", err)
	}
	return nil
}

// arrival says what is up and what comes now.
func (g *guide) arrival(out io.Writer, b *batch) {
	fmt.Fprintf(out, "NATS        %s\nGateway     %s  (mutual TLS)\nControl     %s/  (approve, reject, take down, cut, rotate)\n", g.natsURL, g.gatewayURL, g.controlURL)
	if g.webURL != "" {
		fmt.Fprintf(out, "Status      %s/\nWorkers     %s/metrics\n", g.webURL, g.webURL)
	}
	fmt.Fprintf(out, "Client key  %s\n            %s\nData        %s\n\n", g.certPath, g.keyPath, g.dir)
	if b.resumed {
		fmt.Fprintf(out, `The batch of %d orders in this folder continues. Messages that a killed worker had in
flight come back when its lease ends, about 20 s after the kill.
`, len(b.Orders))
	} else {
		fmt.Fprintf(out, "A producer orders %d certificates, and revokes %d of them.\n", len(b.Orders), b.revocations())
	}
	if g.workers == 0 {
		fmt.Fprintf(out, "No worker runs here. Start one in another terminal, in this repository:\n\n  . %s\n  go run ./cmd/entrust-worker run\n\n", quote(g.env))
	}
}

// departure says what to try while everything stays up.
func (g *guide) departure(out io.Writer) {
	fmt.Fprintf(out, `
Everything runs until Ctrl-C. New results appear here. In another terminal, in this repository:

  . %[1]s

  # order a certificate, and see the order
  go run ./cmd/entrust-worker request issue --producer me --id hello-1 --wait %[2]s
  go run ./cmd/entrust-worker orders show me.hello-1

  # order one that waits until you approve it, here or on the page %[4]s/
  go run ./cmd/entrust-worker request issue --producer me --id hold-1 %[3]s
  curl -X POST '%[4]s/_sim/approve?all=true'            # or reject?id=TRACKING-ID, from %[4]s/_sim/pending

  # make the gateway fail, and watch the worker
  curl -X POST '%[4]s/_sim/down?on=true'                # on=false ends it
  curl -X POST '%[4]s/_sim/cut'                         # resets every connection, once
  curl -X POST '%[4]s/_sim/rotate-client'               # a new client key pair, under load

  # check whether a worker can run here, and list what the gateway rejected
  go run ./cmd/entrust-worker check
  go run ./cmd/entrust-worker dead ls

  # the same order in JSON, with the nats command
  nats pub -J entrust.request.you.issue "$(cat %[5]s)"
  nats stream get ENTRUST_RESULTS --last-for entrust.result.you.hello-1

`, quote(g.env), quote(g.hello), quote(g.hold), g.controlURL, quote(g.request))
}

// quote makes a word of s for a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:=@%+,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
