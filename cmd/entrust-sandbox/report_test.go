package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// A batch whose file was tampered with ends otherwise than it says, and each way
// of that is seen.
func TestOracleSeesWhatWentWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := newBatch(plan{Orders: 8, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	b.Orders[0].Reject = true              // but its name says that it is issued
	b.Orders[1].CSR = b.Orders[2].CSR      // one key, two orders
	b.Orders[3].CSR = csrFor(t, "hold-me") // never decided
	if err := b.save(filepath.Join(dir, "batch.json")); err != nil {
		t.Fatal(err)
	}

	got := sandboxCommand(t, "--once", "--json", "--data", dir, "--latency", "1ms", "--approve-after", "100ms", "--give-up", "3s")
	if got.code != 1 {
		t.Errorf("exit code %d, want 1", got.code)
	}
	s := summaryOf(t, got.stdout)
	s.Seconds = 0
	want := summary{Requests: 8, Orders: 8, Issued: 7, Lost: 1, DuplicateEnrollments: 2}
	if s != want {
		t.Errorf("summary %+v, want %+v", s, want)
	}
	for _, finding := range []string{
		"order-0001 ended as issued, not rejected",
		"order-0002 was enrolled 2 times",
		"order-0004 has no result",
		"did not end as planned: 4 findings",
	} {
		if !strings.Contains(got.stderr, finding) {
			t.Errorf("stderr lacks %q:\n%s", finding, got.stderr)
		}
	}
}

func TestOracleSeesSecondResults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--once", "--json", "--data", dir, "--orders", "3", "--pending", "0", "--latency", "1ms"}
	if got := sandboxCommand(t, args...); got.code != 0 {
		t.Fatalf("exit code %d; stderr:\n%s", got.code, got.stderr)
	}
	publishAgain(t, dir)

	got := sandboxCommand(t, args...)
	if got.code != 1 {
		t.Errorf("exit code %d, want 1", got.code)
	}
	if s := summaryOf(t, got.stdout); s.DuplicateResults != 1 || s.Issued != 3 {
		t.Errorf("summary %+v, want one duplicate result of three", s)
	}
	if want := "order-0002 has more than one result of generation 0"; !strings.Contains(got.stderr, want) {
		t.Errorf("stderr lacks %q:\n%s", want, got.stderr)
	}
}

// publishAgain puts a second copy of a result on the bus whose files lie in dir.
func publishAgain(t *testing.T, dir string) {
	t.Helper()
	b, err := startBus(t.Context(), dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	subject := b.layout.Subjects().Result(producerName, "order-0002")
	m, err := streams.Last(t.Context(), b.js, b.layout.Results, subject)
	if err != nil {
		t.Fatal(err)
	}
	again := &nats.Msg{Subject: subject, Data: m.Data, Header: nats.Header{
		entrustbus.HeaderContentType: {m.Header.Get(entrustbus.HeaderContentType)},
	}}
	if _, err := b.js.PublishMsg(t.Context(), again); err != nil {
		t.Fatal(err)
	}
}

func csrFor(t *testing.T, name string) []byte {
	t.Helper()
	csr, err := oracle.NewCSR(name)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func TestCheckIssuedSeesAForeignCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got := sandboxCommand(t, "--once", "--data", dir, "--orders", "2", "--pending", "0", "--reject", "0", "--revoke", "0", "--latency", "1ms"); got.code != 0 {
		t.Fatalf("exit code %d; stderr:\n%s", got.code, got.stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "worker.log")); err != nil {
		t.Errorf("the worker's log: %v", err)
	}
	batch, err := openBatch(dir, plan{}, func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	b, err := startBus(t.Context(), dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	results := map[string]*entrustbus.Result{}
	for m, err := range streams.Scan(t.Context(), b.js, b.layout.Results, b.layout.Subjects().ResultFilter()) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := oracle.Decode(m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		results[r.ID] = r
	}
	first, second := &batch.Orders[0], &batch.Orders[1]
	if err := oracle.CheckIssued(first.issue(), results[first.ID], true); err != nil {
		t.Errorf("its own certificate: %v", err)
	}
	if err := oracle.CheckIssued(second.issue(), results[first.ID], true); err == nil {
		t.Error("another order's certificate was taken")
	}
	wrong := *results[first.ID]
	wrong.Serial = results[second.ID].Serial
	if err := oracle.CheckIssued(first.issue(), &wrong, true); err == nil {
		t.Error("another certificate's serial was taken")
	}
	wrong = *results[first.ID]
	wrong.ChainPEM = wrong.CertificatePEM
	if err := oracle.CheckIssued(first.issue(), &wrong, true); err == nil {
		t.Error("a chain that does not link was taken")
	}
}
