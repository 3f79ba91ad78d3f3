//go:build integration

package integration

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/incident"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

var serials = flag.Int("serials", 1_000, "serials that the incident revokes")

// An incident, whose run is killed twice as by SIGKILL while a worker stops: no serial is
// revoked twice, and none is missing. For ten thousand serials pass -serials 10000.
func TestIncidentKilledTwice(t *testing.T) {
	t.Parallel()
	serials := *serials
	server := testbed.Start(t)
	gw := startGateway(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl, AcceptUnknownSerials: true})
	site := openSite(t, server, rig.Config{Name: "incident", Gateway: gw, Binary: workerBinary, Audited: true})
	startWorker(t, site, nil)
	worker := startWorker(t, site, nil)

	var list strings.Builder
	for i := range serials {
		fmt.Fprintf(&list, "%x\n", 0xabc0000+i)
	}
	file := filepath.Join(t.TempDir(), "serials.txt")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	verb := func(args ...string) *exec.Cmd {
		cmd := exec.Command(workerBinary, append([]string{"incident"}, args...)...)
		cmd.Env = []string{"NATS_URL=" + server.URL, "ENTRUST_WORKER_STREAMS_PREFIX=incident", "HOME=" + t.TempDir()}
		return cmd
	}
	done := func(args ...string) string {
		t.Helper()
		out, err := verb(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("incident %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	done("create", "leak", "--reason", "keyCompromise", "--why", "a test")
	done("load", "leak", "--file", file, "--yes")

	run := []string{"run", "leak", "--rate", "0", "--yes"}
	for kill, at := range []int{serials / 5, serials * 3 / 5} {
		p, err := testbed.Spawn(verb(run...))
		if err != nil {
			t.Fatal(err)
		}
		err = testbed.UntilEvery(timeout(t, 3*time.Minute, p.Done()), 20*time.Millisecond, "the incident comes so far", func() (bool, error) {
			st, err := site.JS.Stream(t.Context(), site.Layout.Results)
			return err == nil && st.CachedInfo().State.Msgs >= uint64(at), err
		})
		if err != nil {
			t.Fatal(err)
		}
		p.Kill()
		if kill == 0 {
			continue
		}
		// A graceful stop finishes the in-flight revocations. After a kill they would be
		// repeated.
		if err := worker.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
	}
	if out := done(run...); !regexp.MustCompile(fmt.Sprintf(`(?m)^revoked +%d$`, serials)).MatchString(out) {
		t.Errorf("the report is\n%s", out)
	}
	asked := map[string]int{}
	for _, r := range gw.Revocations() {
		asked[r.Serial] = r.Asked
	}
	twice := 0
	for i := range serials {
		switch n := asked[fmt.Sprintf("%x", 0xabc0000+i)]; n {
		case 1:
		case 0:
			t.Errorf("serial %x was not revoked", 0xabc0000+i)
		default:
			twice++
		}
	}
	if twice > 0 {
		t.Errorf("%d serials were revoked twice", twice)
	}
	if len(asked) != serials {
		t.Errorf("%d serials were revoked, want %d", len(asked), serials)
	}
	results := 0
	for _, err := range streams.Scan(t.Context(), site.JS, site.Layout.Results, site.Layout.Subjects().Result(incident.ProducerPrefix+"leak", "*")) {
		if err != nil {
			t.Fatal(err)
		}
		results++
	}
	if results != serials {
		t.Errorf("%d results, want %d", results, serials)
	}
}
