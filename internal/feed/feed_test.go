package feed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// site is a bus, a gateway, and the certificates issued at the gateway.
type site struct {
	t      *testing.T
	js     jetstream.JetStream
	layout streams.Layout
	sim    *gatewaytest.Server
	gw     *gateway.Client
}

func newSite(t *testing.T, cfg gatewaytest.Config) *site {
	t.Helper()
	s := &site{t: t, layout: streams.DefaultLayout()}
	s.layout.Events, s.layout.RequestsMaxBytes = "ENTRUST_EVENTS", 1<<20
	s.js = testbed.Start(t).JetStream(t)
	if _, err := streams.Provision(t.Context(), s.js, s.layout); err != nil {
		t.Fatal(err)
	}
	cfg.Dialect = gatewaytest.CAGW
	var err error
	if s.sim, err = gatewaytest.Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.sim.Close() })
	hc, err := s.sim.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hc.CloseIdleConnections)
	s.gw, err = gateway.New(gateway.Config{URL: s.sim.URL(), CAID: s.sim.CAID(), ProfileID: s.sim.Profile(), Dialect: gateway.DialectCAGW, ThrottleFloor: time.Millisecond}, hc, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// issue issues certificates at the gateway without the worker.
func (s *site) issue(n int) (serials []*big.Int) {
	s.t.Helper()
	for range n {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "issue-a"}}, key)
		if err != nil {
			s.t.Fatal(err)
		}
		csr, err := x509.ParseCertificateRequest(der)
		if err != nil {
			s.t.Fatal(err)
		}
		a, err := s.gw.Enroll(s.t.Context(), gateway.Enrollment{CSR: csr})
		if err != nil {
			s.t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(a.Certificate)
		if err != nil {
			s.t.Fatal(err)
		}
		serials = append(serials, cert.SerialNumber)
	}
	return serials
}

func (s *site) revoke(serial *big.Int) {
	s.t.Helper()
	if err := s.gw.Revoke(s.t.Context(), gateway.Revocation{Serial: serial, Reason: "superseded"}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) fault(f gatewaytest.Fault) {
	s.t.Helper()
	if _, err := s.sim.AddFault(f); err != nil {
		s.t.Fatal(err)
	}
}

// feed returns the feed of a worker that starts now. Each of its external calls passes
// through world, which may be nil.
func (s *site) feed(world *world) *Feed {
	bucket := control.Open(control.Config{JS: s.js, Bucket: s.layout.Control, Worker: fmt.Sprint("w", time.Now().UnixNano()), Gateway: s.sim.URL()})
	f := &Feed{
		JS: s.js, Stream: s.layout.Events, Subjects: s.layout.Subjects(), Gateway: s.gw, Cursors: bucket, Lease: bucket.FeedLease(),
		CAs:  func(context.Context) []string { return []string{s.sim.CAID()} },
		Turn: func(ctx context.Context, _ error) error { return ctx.Err() }, Now: time.Now, Every: time.Second, Delay: time.Second, Log: slog.New(slog.DiscardHandler),
	}
	if world != nil {
		f.JS, f.Gateway, f.Cursors = mortalJS{s.js, world}, mortalGateway{s.gw, world}, mortalCursors{bucket, world}
	}
	return f
}

// published returns the events in the stream, as "action serial", and checks that each id
// occurs once.
func (s *site) published() []string {
	s.t.Helper()
	var all []string
	ids := map[string]bool{}
	for m, err := range streams.Scan(s.t.Context(), s.js, s.layout.Events, s.layout.Subjects().EventFilter()) {
		if err != nil {
			s.t.Fatal(err)
		}
		e, err := entrustbus.DecodeEvent(m.Data)
		if err != nil {
			s.t.Fatal(err)
		}
		if ids[e.ID] || e.ID != m.Header.Get(entrustbus.HeaderEventID) || e.CAID != s.sim.CAID() || !strings.Contains(e.CertificatePEM, "BEGIN CERTIFICATE") || e.HappenedAt.IsZero() {
			s.t.Errorf("event %+v, published before: %v", e, ids[e.ID])
		}
		ids[e.ID] = true
		all = append(all, e.Action+" "+e.Serial)
	}
	return all
}

// world kills a worker before or after its n-th external action.
type world struct {
	mu    sync.Mutex
	left  int
	after bool
}

var errDead = errors.New("the worker is dead")

// do performs the action, unless the worker is dead.
func (w *world) do(it func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left--
	if w.left < 0 || w.left == 0 && !w.after {
		return errDead
	}
	err := it()
	if w.left == 0 {
		w.left--
		return errDead
	}
	return err
}

type mortalJS struct {
	jetstream.JetStream
	*world
}

func (m mortalJS) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (ack *jetstream.PubAck, err error) {
	err = m.do(func() (err error) { ack, err = m.JetStream.PublishMsg(ctx, msg, opts...); return err })
	return ack, err
}

type mortalGateway struct {
	Gateway
	*world
}

func (m mortalGateway) Events(ctx context.Context, ca string, since time.Time, index string) (page gateway.EventPage, err error) {
	err = m.do(func() (err error) { page, err = m.Gateway.Events(ctx, ca, since, index); return err })
	return page, err
}

type mortalCursors struct {
	Cursors
	*world
}

func (m mortalCursors) SaveFeed(ctx context.Context, ca string, f *control.Feed) error {
	return m.do(func() error { return m.Cursors.SaveFeed(ctx, ca, f) })
}

// TestEachEventOnceWhereverWorkersDie kills one worker after another at each external
// action. Every event is published exactly once.
func TestEachEventOnceWhereverWorkersDie(t *testing.T) {
	t.Parallel()
	s := newSite(t, gatewaytest.Config{EventPageSize: 4, EmptyEventPages: 1})
	ctx, ca := t.Context(), s.sim.CAID()
	var want []string
	for _, serial := range s.issue(3) {
		want = append(want, fmt.Sprintf("issued %x", serial))
	}
	for n := 1; ; n++ {
		finished := 0
		for _, after := range []bool{false, true} {
			if n < 10 { // with more events the listing would outgrow the workers' lives
				serial := s.issue(1)[0]
				s.revoke(serial)
				want = append(want, fmt.Sprintf("issued %x", serial), fmt.Sprintf("revoked %x", serial))
			}
			if err := s.feed(&world{left: n, after: after}).Read(ctx, ca); err == nil {
				finished++
			} else if !errors.Is(err, errDead) {
				t.Fatal(err)
			}
		}
		if finished == 2 {
			break
		}
		if n > 100 {
			t.Fatal("no worker lives long enough")
		}
	}
	f := s.feed(nil)
	for range 2 { // the second time there is nothing new
		if err := f.Read(ctx, ca); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.published(); !slices.Equal(got, want) {
		t.Errorf("published\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Two workers that both believe they have the lease publish each event once.
func TestTwoWorkersAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, gatewaytest.Config{EventPageSize: 5})
	s.issue(40)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			f := s.feed(nil)
			for range 100 {
				if f.Read(t.Context(), s.sim.CAID()) == nil {
					return
				}
			}
			t.Error("a worker never came to the end")
		})
	}
	all.Wait()
	if got := s.published(); len(got) != 40 {
		t.Errorf("%d events published, want 40", len(got))
	}
}

// The feed publishes again exactly the events that the bus lost.
func TestLostCursorAndLostEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t, gatewaytest.Config{})
	ctx, ca := t.Context(), s.sim.CAID()
	s.issue(5)
	read := func() {
		t.Helper()
		if err := s.feed(nil).Read(ctx, ca); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if err := s.js.DeleteKeyValue(ctx, s.layout.Control); err != nil {
		t.Fatal(err)
	}
	if _, err := streams.Provision(ctx, s.js, s.layout); err != nil {
		t.Fatal(err)
	}
	s.issue(1)
	read()
	if got := s.published(); len(got) != 6 {
		t.Fatalf("after the cursor was lost: %q", got)
	}
	stream, err := s.js.Stream(ctx, s.layout.Events)
	if err != nil {
		t.Fatal(err)
	}
	for _, sequence := range []uint64{5, 6} {
		if err := stream.DeleteMsg(ctx, sequence); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if got := s.published(); len(got) != 6 {
		t.Errorf("after the stream lost its end: %q", got)
	}
}

// The feed requests a throttled page again when its turn comes. After a broken answer the
// next reading continues.
func TestTroubleOfTheGateway(t *testing.T) {
	t.Parallel()
	s := newSite(t, gatewaytest.Config{EventPageSize: 1})
	ctx, ca := t.Context(), s.sim.CAID()
	s.issue(3)
	var waited []error
	f := s.feed(nil)
	f.Turn = func(_ context.Context, throttled error) error {
		waited = append(waited, throttled)
		return nil
	}
	s.fault(gatewaytest.Fault{Op: gatewaytest.OpEvents, Kind: gatewaytest.FaultThrottle, Skip: 1, Times: 1})
	if err := f.Read(ctx, ca); err != nil {
		t.Fatal(err)
	}
	throttled := slices.IndexFunc(waited, func(err error) bool { return gateway.FateOf(err) == gateway.Throttled })
	if throttled != 2 || len(s.published()) != 3 {
		t.Errorf("turns %v, published %q", waited, s.published())
	}
	s.issue(2)
	s.fault(gatewaytest.Fault{Op: gatewaytest.OpEvents, Kind: gatewaytest.FaultHalfBody, Skip: 1, Times: 1})
	if err := f.Read(ctx, ca); err == nil {
		t.Error("half a page was read")
	}
	if err := f.Read(ctx, ca); err != nil {
		t.Fatal(err)
	}
	if got := s.published(); len(got) != 5 {
		t.Errorf("published %q", got)
	}
}

// Run reads while it has the lease, and the next worker takes over at once.
func TestRunHandsOver(t *testing.T) {
	t.Parallel()
	s := newSite(t, gatewaytest.Config{})
	within, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	for n := 1; n <= 2; n++ {
		s.issue(1)
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		f := s.feed(nil)
		f.Every = 200 * time.Millisecond
		done.Go(func() { f.Run(ctx) })
		if err := testbed.Until(within, "the event is there", func() (bool, error) { return len(s.published()) == n, nil }); err != nil {
			t.Error(err)
		}
		cancel()
		done.Wait()
	}
}
