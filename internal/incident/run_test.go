package incident_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/incident"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/worker"
)

// site is a bus, a gateway that revokes any serial, and a worker between them.
type site struct {
	server *testbed.Server
	js     jetstream.JetStream
	layout streams.Layout
	sim    *gatewaytest.Server
	store  *incident.Store
}

// setup starts a site. The policy names no producer.
func setup(t *testing.T, faults ...gatewaytest.Fault) *site {
	t.Helper()
	s := &site{server: testbed.Start(t), layout: streams.DefaultLayout()}
	s.layout.Audited = true
	s.js = s.server.JetStream(t)
	if _, err := streams.Provision(t.Context(), s.js, s.layout); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.sim, err = gatewaytest.Start(gatewaytest.Config{AcceptUnknownSerials: true, Faults: faults}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.sim.Close() })
	if s.store, err = incident.Open(t.Context(), s.js, s.layout.Incidents); err != nil {
		t.Fatal(err)
	}
	cache, err := mtlscache.New(mtlscache.Config{CertFile: s.sim.ClientCert(), KeyFile: s.sim.ClientKey(), ServerCAFile: s.sim.ServerCA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	client, err := gateway.New(gateway.Config{URL: s.sim.URL(), CAID: s.sim.CAID()}, &http.Client{Transport: cache}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := policy.Parse([]byte("producers: {shop: {kinds: [issue]}}"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(worker.Config{Config: consumer.Config{
		Layout: s.layout, CAID: s.sim.CAID(), Gateway: s.sim.URL(), Policy: func() *policy.Policy { return rules },
	}}, s.server.JetStream(t), client, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// serials returns n entries.
func serials(n int) (all []incident.Entry) {
	for i := range n {
		all = append(all, incident.Entry{Serial: fmt.Sprintf("%x", 0xabc0000+i)})
	}
	return all
}

func (s *site) create(t *testing.T, name string, entries []incident.Entry) {
	t.Helper()
	err := s.store.Create(t.Context(), &incident.Incident{Name: name, Reason: "keyCompromise", Operator: "ada@desk", Why: "host 7 was broken into"})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.store.Load(t.Context(), name, entries); err != nil || n != len(entries) {
		t.Fatalf("loaded %d, %v", n, err)
	}
}

// runUntil runs an incident on a connection of its own, and kills it without a clean end
// when begun serials are published.
func (s *site) runUntil(t *testing.T, name string, begun int) {
	t.Helper()
	js := s.server.JetStream(t)
	store, err := incident.Open(t.Context(), js, s.layout.Incidents)
	if err != nil {
		t.Fatal(err)
	}
	killed := errors.New("killed")
	ctx, kill := context.WithCancelCause(t.Context())
	r := incident.Run{JS: js, Layout: s.layout, Store: store, InFlight: 50, Progress: func(st incident.Status) {
		if st.Revoked+st.Failed+st.Waiting >= begun {
			js.Conn().Close()
			kill(killed)
		}
	}}
	if _, err := r.Do(ctx, name); err == nil {
		t.Fatal("the run came to its end before it was killed")
	}
}

// revokedOnce fails unless the gateway was asked exactly once for each entry.
func (s *site) revokedOnce(t *testing.T, entries []incident.Entry) {
	t.Helper()
	asked := map[string]int{}
	for _, rev := range s.sim.Revocations() {
		asked[rev.Serial] = rev.Asked
		if rev.Standing != "revoked" || rev.Reason != "keyCompromise" {
			t.Errorf("serial %s is %s for %q", rev.Serial, rev.Standing, rev.Reason)
		}
	}
	for _, e := range entries {
		if n := asked[e.Serial]; n != 1 {
			t.Errorf("the gateway was asked %d times to revoke %s", n, e.Serial)
		}
		delete(asked, e.Serial)
	}
	if len(asked) > 0 {
		t.Errorf("%d serials were revoked that are not of the incident", len(asked))
	}
}

// An incident that is killed twice revokes every serial, and none twice.
func TestIncidentKilledTwice(t *testing.T) {
	t.Parallel()
	s := setup(t)
	entries := serials(300)
	s.create(t, "leak", entries)
	s.runUntil(t, "leak", 60)
	s.runUntil(t, "leak", 170)
	i, _, err := s.store.Get(t.Context(), "leak")
	if err != nil || i.Report != nil {
		t.Fatalf("a run that was killed reports %+v, %v", i, err)
	}
	report, err := (&incident.Run{JS: s.js, Layout: s.layout, Store: s.store}).Do(t.Context(), "leak")
	if err != nil {
		t.Fatal(err)
	}
	if report.Revoked != len(entries) || report.Serials != len(entries) || report.Failed+report.Waiting+report.Open > 0 {
		t.Errorf("the report is %+v", report)
	}
	s.revokedOnce(t, entries)

	// Nothing is left to do, even without results and ledger records.
	for _, bucket := range []string{"KV_" + s.layout.Orders, s.layout.Results} {
		st, err := s.js.Stream(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Purge(t.Context(), jetstream.WithPurgeSubject(">")); err != nil {
			t.Fatal(err)
		}
	}
	again, err := (&incident.Run{JS: s.js, Layout: s.layout, Store: s.store}).Do(t.Context(), "leak")
	if err != nil || again.Revoked != len(entries) {
		t.Errorf("run again: %+v, %v", again, err)
	}
	s.revokedOnce(t, entries)
}

// A neighbour that publishes under an incident's possible message ids does not suppress
// the incident's requests.
func TestIncidentBesideForeignMessageIDs(t *testing.T) {
	t.Parallel()
	s := setup(t)
	entries := serials(3)
	s.create(t, "leak", entries)
	for _, e := range entries {
		for _, id := range []string{entrustbus.RequestMsgID("incident-leak", e.ID(), 0), entrustbus.ResultMsgID("incident-leak", e.ID(), 0)} {
			if _, err := s.js.Publish(t.Context(), "entrust.request.shop.issue", []byte("{}"), jetstream.WithMsgID(id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := (&incident.Run{JS: s.js, Layout: s.layout, Store: s.store}).Do(within, "leak")
	if err != nil || report.Revoked != len(entries) {
		t.Errorf("the report is %+v, %v", report, err)
	}
	s.revokedOnce(t, entries)
}

// Serials that the gateway refuses are in the report and delay nothing. The next run
// revokes serials that are loaded later.
func TestIncidentWithFailures(t *testing.T) {
	t.Parallel()
	s := setup(t, gatewaytest.Fault{Op: gatewaytest.OpRevoke, Kind: gatewaytest.FaultStatus, Status: http.StatusConflict, Times: 3})
	entries := serials(20)
	s.create(t, "leak", entries[:15])
	run := incident.Run{JS: s.js, Layout: s.layout, Store: s.store, InFlight: 1}
	report, err := run.Do(t.Context(), "leak")
	if err != nil {
		t.Fatal(err)
	}
	if report.Revoked != 12 || report.Failed != 3 || len(report.Failures) != 3 || report.Failures[0].Error == "" {
		t.Errorf("the report is %+v", report)
	}
	if n, err := s.store.Load(t.Context(), "leak", entries); err != nil || n != 5 {
		t.Fatalf("loaded %d more, %v", n, err)
	}
	if report, err = run.Do(t.Context(), "leak"); err != nil || report.Revoked != 17 || report.Failed != 3 || report.Serials != 20 {
		t.Errorf("the second report is %+v, %v", report, err)
	}
}

// The run keeps its rate: it takes at least the corresponding time.
func TestIncidentRate(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.create(t, "slow", serials(11))
	begun := time.Now()
	run := incident.Run{JS: s.js, Layout: s.layout, Store: s.store, Rate: 10}
	if _, err := run.Do(t.Context(), "slow"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 900*time.Millisecond {
		t.Errorf("11 serials at 10 a second took %s", took)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := incident.Open(t.Context(), js, layout.Incidents); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("without a bucket: %v", err)
	}
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	s, err := incident.Open(t.Context(), js, layout.Incidents)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), &incident.Incident{Name: "a.b"}); err == nil {
		t.Error("a name with a dot is taken")
	}
	if err := s.Create(t.Context(), &incident.Incident{Name: "a", Reason: "whim"}); err == nil {
		t.Error("an unknown reason is taken")
	}
	if err := s.Create(t.Context(), &incident.Incident{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), &incident.Incident{Name: "a"}); !errors.Is(err, incident.ErrExists) {
		t.Errorf("a second one of the name: %v", err)
	}
	if _, err := s.Load(t.Context(), "b", nil); !errors.Is(err, incident.ErrUnknown) {
		t.Errorf("an unknown name: %v", err)
	}
	for _, step := range []struct {
		from, to, want int
	}{{0, 1000, 1000}, {500, 1500, 500}, {0, 1500, 0}} {
		if n, err := s.Load(t.Context(), "a", serials(step.to)[step.from:]); err != nil || n != step.want {
			t.Errorf("loading %d to %d added %d, %v, want %d", step.from, step.to, n, err, step.want)
		}
	}
	twice := incident.Entry{Serial: "abc0000", CAID: "other"}
	if n, err := s.Load(t.Context(), "a", []incident.Entry{twice, twice}); err != nil || n != 1 {
		t.Errorf("a serial of another CA: %d, %v", n, err)
	}
	i, _, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Entries(t.Context(), i)
	if err != nil || len(all) != 1501 || i.Serials != 1501 || all[0] != serials(1)[0] {
		t.Errorf("%d entries, %d serials, %v", len(all), i.Serials, err)
	}
	if names, err := s.Names(t.Context()); err != nil || fmt.Sprint(names) != "[a]" {
		t.Errorf("names %v, %v", names, err)
	}
}
