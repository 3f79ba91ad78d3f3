package gatewaytest_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// childDir is the environment variable with the folder of a gateway. With it this test binary
// runs as that gateway; see startChild.
const childDir = "GATEWAYTEST_CHILD_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	gw, err := gatewaytest.Start(gatewaytest.Config{Dir: dir, Persist: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(gw.URL())
	select {} // until it is killed
}

// startChild runs a persistent gateway as its own process and returns its URL.
func startChild(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("child gateway: %v", err)
	}
	return cmd, strings.TrimSpace(line)
}

// TestKilled enrolls at a gateway that is killed during the requests. Every answered order must
// exist afterwards.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, url := startChild(t, dir)
	// A second gateway on the folder only provides its client; it has no journal.
	lender := setup(t, gatewaytest.Config{Dir: dir})
	hc := lender.hc
	hc.Transport.(*http.Transport).DialContext = nil
	csrs := make([][]byte, 8)
	for i := range csrs {
		csrs[i] = csrOf(t, fmt.Sprintf("hold-%d.example.net", i))
	}

	var mu sync.Mutex
	told := map[string]bool{} // tracking ids that were answered
	var wg sync.WaitGroup
	enough := make(chan struct{})
	for _, csr := range csrs {
		wg.Go(func() {
			body := fmt.Sprintf(`{"csr":%q}`, armour(csr))
			for {
				resp, err := hc.Post(url+"/v1/certificate-authorities/"+lender.gw.CAID()+"/enrollments", "application/json", strings.NewReader(body))
				if err != nil {
					return // killed
				}
				var r reply
				r.body, err = readAll(resp)
				if err != nil {
					return
				}
				mu.Lock()
				told[decode[flat](t, r).TrackingID] = true
				if len(told) == 100 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	cmd.Process.Kill()
	cmd.Wait()
	wg.Wait()

	e := setup(t, gatewaytest.Config{Dir: dir, Persist: true})
	for id := range told {
		if got := e.pollFlat(id); got.Status != "AWAITING_APPROVAL" {
			t.Fatalf("order %q: got status %q", id, got.Status)
		}
	}
	total := 0
	for _, n := range e.gw.Enrollments() {
		total += n
	}
	if st := e.gw.Stats(); total < len(told) || st.Enrolled != total || st.Pending != total {
		t.Errorf("got %d orders and %+v, want %d or a few more", total, st, len(told))
	}
}

func TestPersisted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := gatewaytest.Config{Dir: dir, Persist: true, Dialect: gatewaytest.CAGW}
	first := setup(t, cfg)
	done := first.enrollNested(request(csrOf(t, "done.example.net")), 200)
	open := first.enrollNested(request(csrOf(t, "hold-open.example.net")), 201)
	approved := first.enrollNested(request(csrOf(t, "hold-approved.example.net")), 201)
	if err := first.gw.Approve(approved.Enrollment.ID); err != nil {
		t.Fatal(err)
	}
	first.must("POST", first.ca("/certificates/"+done.Enrollment.SerialNumber+"/actions"),
		map[string]any{"action": map[string]any{"type": "RevokeAction", "reason": "keyCompromise", "comment": "lost"}}, 200)
	want := first.gw.Enrollments()
	if err := first.gw.Close(); err != nil {
		t.Fatal(err)
	}

	// A record that a crash truncated was never answered, so it is dropped.
	journal, err := os.OpenFile(filepath.Join(dir, "orders.journal"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Write([]byte{200, 1, 9, 9, 9, 9, 'E'}); err != nil {
		t.Fatal(err)
	}
	journal.Close()

	second := setup(t, cfg)
	if got := second.gw.Enrollments(); len(got) != len(want) {
		t.Errorf("got %d keys, want %d", len(got), len(want))
	}
	again := decode[nested](t, second.must("GET", second.ca("/enrollments/"+done.Enrollment.ID), nil, 200))
	if again.Enrollment.Body != done.Enrollment.Body {
		t.Error("the certificate is another one")
	}
	state := decode[certState](t, second.must("GET", second.ca("/certificates/"+done.Enrollment.SerialNumber), nil, 200))
	if state.Certificate.Status != "revoked" || state.Certificate.RevocationInfo.Comment != "lost" {
		t.Errorf("got %+v, want it revoked", state.Certificate)
	}
	for id, body := range map[string]bool{open.Enrollment.ID: false, approved.Enrollment.ID: true} {
		got := decode[nested](t, second.must("GET", second.ca("/enrollments/"+id), nil, 200))
		if (got.Enrollment.Body != "") != body {
			t.Errorf("order %q: got %+v", id, got.Enrollment)
		}
	}
	second.enrollNested(request(csrOf(t, "more.example.net")), 200)
	if err := second.gw.Close(); err != nil {
		t.Fatal(err)
	}
	third := setup(t, cfg)
	if st := third.gw.Stats(); st.Enrolled != 4 || st.Issued != 3 || st.Active != 2 || st.Pending != 1 {
		t.Errorf("got %+v", st)
	}
}

func TestForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := setup(t, gatewaytest.Config{Dir: dir})
	id := first.enrollFlat(csrOf(t, "hold-a.example.net"), 201).TrackingID
	second := setup(t, gatewaytest.Config{Dir: dir})
	second.enrollFlat(csrOf(t, "hold-b.example.net"), 201)
	// The first order of the second gateway must not have the tracking id of the first gateway's.
	second.must("GET", second.ca("/enrollments/"+id), nil, 404)
	// Both gateways accept the same pair.
	if first.gw.ClientCert() != second.gw.ClientCert() {
		t.Errorf("got %q and %q", first.gw.ClientCert(), second.gw.ClientCert())
	}
}

func TestJournalDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := gatewaytest.Config{Dir: dir, Persist: true}
	first := setup(t, cfg)
	first.enrollFlat(csrOf(t, "a.example.net"), 200)
	if err := first.gw.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "orders.journal")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if gw, err := gatewaytest.Start(cfg); err == nil {
		gw.Close()
		t.Error("a damaged journal was accepted")
	}
}
