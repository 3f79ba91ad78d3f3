package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// story is what befalls the orders of one case and their workers.
type story struct {
	Config    mConfig
	Fates     [][]string      // of each order's calls, in turn; the last one stays
	Approvals []string        // of each order that waits: "issued", "rejected" or "never"
	Cancelled []bool          // a cancellation of each order
	Again     []bool          // each order published twice
	Aliens    []bool          // another request under each order's id
	Crashes   []time.Duration // how long each worker lives; the last one lives on
}

func stories() *rapid.Generator[story] {
	return rapid.Custom(func(t *rapid.T) story {
		const orders = 6
		s := story{Config: rapid.SampledFrom(configs()).Draw(t, "config")}
		fates := []string{"issued", "pending", "pending", "rejected", "refused", "not taken", "lost", "never arrived", "late", "blocked"}
		if s.Config.approvalNever {
			fates = slices.DeleteFunc(fates, func(f string) bool { return f == "pending" })
		}
		flags := rapid.SliceOfN(rapid.Bool(), orders, orders)
		s.Fates = rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(fates), 1, 3), orders, orders).Draw(t, "fates")
		s.Approvals = rapid.SliceOfN(rapid.SampledFrom([]string{"issued", "rejected", "never"}), orders, orders).Draw(t, "approvals")
		s.Cancelled, s.Again, s.Aliens = flags.Draw(t, "cancelled"), flags.Draw(t, "again"), flags.Draw(t, "aliens")
		for _, ms := range rapid.SliceOfN(rapid.IntRange(5, 900), 1, 4).Draw(t, "crashes") {
			s.Crashes = append(s.Crashes, time.Duration(ms)*time.Millisecond)
		}
		return s
	})
}

// The worker itself, against a gateway of any behaviour, its connection cut without
// a word at any moment. Time is real here, so the cases are few; the same promises
// are asked for as of the model.
func TestModelOfWorker(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			tell(t, stories().Example(i))
		})
	}
}

// A call lasts as long as its lease, where its worker was slow to begin it. What is
// accepted at the very end shows in the events later still, and a look-up that is
// made before proves nothing.
func TestLookUpAfterTheLongestCall(t *testing.T) {
	t.Parallel()
	tell(t, story{
		Config: mConfig{canFind: true, approvalNever: true}, Fates: [][]string{{"late"}, {"late", "issued"}}, Crashes: []time.Duration{0},
		Approvals: make([]string, 2), Cancelled: make([]bool, 2), Again: make([]bool, 2), Aliens: make([]bool, 2),
	})
}

// tell plays a story and checks its end.
func tell(t *testing.T, plot story) {
	s := openInside(t, 50*time.Second)
	s.cfg.EnrollTimeout, s.cfg.EventDelay, s.cfg.Drain = 400*time.Millisecond, 4*eventDelay, 50*time.Millisecond
	s.cfg.MaxWait, s.cfg.ApprovalNever = 5*time.Second, plot.Config.approvalNever
	s.cfg.OnLostReply = consumer.Hold
	if plot.Config.resubmit {
		s.cfg.OnLostReply = consumer.Resubmit
	}
	g := newScripted(t, plot)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the story: %+v\nthe gateway: %+v\nthe log ends with\n%s", plot, g.orders, s.log.Tail(4<<10))
		}
	})
	publish := func(q entrustbus.Request) {
		body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, q)
		if err != nil {
			t.Fatal(err)
		}
		// Without a message id the server takes whatever comes twice.
		if _, err := s.js.Publish(s.ctx, s.layout.Subjects().Request("p", q.Kind()), body); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for i := range plot.Fates {
		o := g.orders[i]
		publish(&entrustbus.Issue{ID: o.id, CSRDER: o.csr})
		want = append(want, o.id)
		if plot.Aliens[i] {
			other, _ := entrustbustest.CSR("alien.example.net")
			publish(&entrustbus.Issue{ID: "alien-of-" + o.id, CSRDER: other})
			publish(&entrustbus.Track{ID: "alien-of-" + o.id, TrackingID: "none"})
		}
	}
	for _, lives := range plot.Crashes[:len(plot.Crashes)-1] {
		die := s.mortal(g)
		select {
		case <-time.After(lives):
		case <-s.ctx.Done():
		}
		die()
	}
	stop := s.work(&door{scripted: g, open: context.Background()})
	for i := range plot.Fates {
		if plot.Again[i] {
			publish(&entrustbus.Issue{ID: g.orders[i].id, CSRDER: g.orders[i].csr})
		}
		if plot.Cancelled[i] {
			publish(&entrustbus.Cancel{ID: "cancel-" + g.orders[i].id, Order: g.orders[i].id})
			want = append(want, "cancel-"+g.orders[i].id)
		}
	}
	s.quiet()
	stop()

	results := s.results()
	for _, id := range want {
		// Nobody replays here, so there is one generation.
		if got := results["p."+id]; len(got) != 1 || got[0].Replay != 0 {
			t.Errorf("I1, I2: the results of %s are %+v", id, got)
		}
	}
	letters := map[string]int{}
	for _, l := range s.letters() {
		letters[l.Key.ID]++
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, o := range g.orders {
		if got := results["p."+o.id]; len(got) == 1 {
			o.judge(t, plot, got[0])
			if bad := got[0].Outcome != entrustbus.OutcomeIssued && got[0].Outcome != entrustbus.OutcomeCancelled; bad && letters[o.id] == 0 {
				t.Errorf("%s ended as %s without a dead letter", o.id, got[0].Outcome)
			}
		}
		if plot.Aliens[i] && letters["alien-of-"+o.id] == 0 {
			t.Errorf("I1: one of two requests under the id of alien-of-%s has no dead letter", o.id)
		}
	}
}

// mortal runs a worker that ends as by a death: its connection is gone at once, and
// no call that it makes from then on reaches the gateway.
func (s *inside) mortal(g *scripted) (die func()) {
	s.t.Helper()
	nc, err := s.server.Connect()
	if err != nil {
		s.t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	open, shut := context.WithCancel(context.WithoutCancel(s.ctx))
	w, err := consumer.New(s.cfg, js, &door{scripted: g, open: open}, s.logger())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	die = sync.OnceFunc(func() { shut(); nc.Close(); cancel() })
	s.t.Cleanup(func() { die(); <-done })
	return die
}

// eventDelay is how long after an enrollment a look-up still misses it.
const eventDelay = 150 * time.Millisecond

// scripted is a gateway that does to each order what a story says.
type scripted struct {
	canFind bool
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey

	mu     sync.Mutex
	orders []*scriptedOrder
}

// scriptedOrder is what the gateway knows of one order.
type scriptedOrder struct {
	id       string
	csr      []byte
	fates    []string
	approval string

	calls    []string // the fates of the calls that reached the gateway
	live     int      // enrollments that were created
	pending  bool
	enrolled time.Time
	cert     []byte
	polls    []time.Time
}

func newScripted(t testing.TB, plot story) *scripted {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "scripted"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	g := &scripted{canFind: plot.Config.canFind, key: key}
	if g.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	for i, fates := range plot.Fates {
		id := fmt.Sprintf("order-%d", i)
		csr, _ := entrustbustest.CSR(id + ".example.net")
		g.orders = append(g.orders, &scriptedOrder{id: id, csr: csr, fates: fates, approval: plot.Approvals[i]})
	}
	return g
}

// of is the order of a request, an order of no story where it is another's.
func (g *scripted) of(csr *x509.CertificateRequest) *scriptedOrder {
	for _, o := range g.orders {
		if csr != nil && string(o.csr) == string(csr.Raw) {
			return o
		}
	}
	return &scriptedOrder{csr: csr.Raw, fates: []string{"issued"}}
}

// accept creates the order. Caller holds g.mu.
func (g *scripted) accept(o *scriptedOrder, pending bool) error {
	o.live++
	if o.pending, o.enrolled = pending, time.Now(); pending {
		return nil
	}
	return g.sign(o)
}

// sign issues the certificate. Caller holds g.mu.
func (g *scripted) sign(o *scriptedOrder) error {
	csr, err := x509.ParseCertificateRequest(o.csr)
	if err != nil {
		return err
	}
	o.pending = false
	o.cert, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: csr.Subject, DNSNames: csr.DNSNames,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}, g.ca, csr.PublicKey, g.key)
	return err
}

func (g *scripted) issued(o *scriptedOrder) gateway.Answer {
	return gateway.Answer{State: gateway.Issued, TrackingID: o.id, Certificate: o.cert, Chain: [][]byte{g.ca.Raw}, HTTPStatus: http.StatusOK}
}

// door is the scripted gateway as one worker reaches it: behind a closed one nothing
// is heard any more.
type door struct {
	*scripted
	open context.Context
}

var errGone = errors.New("the worker is dead")

func fail(fate gateway.Fate) error {
	return &gateway.Error{Op: gateway.OpEnroll, Fate: fate, Class: "network", Message: fate.String()}
}

func (d *door) Enroll(ctx context.Context, e gateway.Enrollment) (gateway.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open.Err() != nil || ctx.Err() != nil {
		return gateway.Answer{}, errGone
	}
	o := d.of(e.CSR)
	fate := o.fates[min(len(o.calls), len(o.fates)-1)]
	if fate == "not taken" && len(o.calls) >= len(o.fates) {
		fate = "issued" // it does so in the end
	}
	o.calls = append(o.calls, fate)
	switch fate {
	case "issued":
		return d.issuedBy(o)
	case "pending":
		return gateway.Answer{State: gateway.Pending, TrackingID: o.id, HTTPStatus: http.StatusAccepted}, d.accept(o, true)
	case "rejected":
		return gateway.Answer{State: gateway.Rejected, TrackingID: o.id, HTTPStatus: http.StatusOK}, nil
	case "refused":
		return gateway.Answer{}, fail(gateway.Refused)
	case "not taken":
		return gateway.Answer{}, fail(gateway.NotAccepted)
	case "lost":
		return gateway.Answer{}, errors.Join(fail(gateway.Unknown), d.accept(o, false))
	case "blocked", "late":
		d.mu.Unlock()
		select { // as long as the call, or its worker, lives
		case <-ctx.Done():
		case <-d.open.Done():
		}
		d.mu.Lock()
		if fate == "late" {
			return gateway.Answer{}, errors.Join(fail(gateway.Unknown), d.accept(o, false))
		}
	}
	return gateway.Answer{}, fail(gateway.Unknown)
}

func (d *door) issuedBy(o *scriptedOrder) (gateway.Answer, error) {
	if err := d.accept(o, false); err != nil {
		return gateway.Answer{}, err
	}
	return d.issued(o), nil
}

func (d *door) Poll(ctx context.Context, p gateway.Poll) (gateway.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open.Err() != nil || ctx.Err() != nil {
		return gateway.Answer{}, errGone
	}
	i := slices.IndexFunc(d.orders, func(o *scriptedOrder) bool { return o.id == p.TrackingID })
	if i < 0 {
		return gateway.Answer{}, fail(gateway.NotFound)
	}
	o := d.orders[i]
	o.polls = append(o.polls, time.Now())
	switch {
	case len(o.polls)%3 == 2:
		return gateway.Answer{}, fail(gateway.Unknown)
	case o.cert != nil:
	case o.approval == "never" || time.Since(o.enrolled) < time.Second:
		return gateway.Answer{State: gateway.Pending, TrackingID: o.id, HTTPStatus: http.StatusOK}, nil
	case o.approval == "rejected":
		return gateway.Answer{State: gateway.Rejected, TrackingID: o.id, HTTPStatus: http.StatusOK}, nil
	default:
		if err := d.sign(o); err != nil {
			return gateway.Answer{}, err
		}
	}
	return d.issued(o), nil
}

func (d *door) Find(_ context.Context, q gateway.Search) (gateway.Answer, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open.Err() != nil {
		return gateway.Answer{}, false, errGone
	}
	if o := d.of(q.CSR); o.cert != nil && time.Since(o.enrolled) > eventDelay {
		return d.issued(o), true, nil
	}
	return gateway.Answer{}, false, nil
}

func (d *door) CanFind() bool                                    { return d.canFind }
func (d *door) Probe(context.Context) error                      { return d.open.Err() }
func (d *door) Revoke(context.Context, gateway.Revocation) error { return io.ErrUnexpectedEOF }

// judge holds what the gateway saw of an order against its result.
func (o *scriptedOrder) judge(t *testing.T, plot story, r *entrustbus.Result) {
	t.Helper()
	// I3: which calls may be followed by another one.
	for i, fate := range o.calls[:max(0, len(o.calls)-1)] {
		switch {
		case fate == "not taken", plot.Config.resubmit:
		case plot.Config.canFind && plot.Config.approvalNever && slices.Contains([]string{"never arrived", "blocked", "rejected"}, fate):
		case fate == "refused" && plot.Config.canFind && plot.Config.approvalNever: // and the worker died
		default:
			t.Errorf("I3: %s was submitted again after call %d, which was %q: %q", o.id, i+1, fate, o.calls)
		}
	}
	if len(o.calls) > 3+plotted(o.calls, "not taken") || !plot.Config.resubmit && o.live > 1 {
		t.Errorf("I3: %s has %d enrollments by the calls %q", o.id, o.live, o.calls)
	}
	if o.live > 1 && !r.PossibleDuplicate {
		t.Errorf("%s has %d enrollments, and its result does not say so", o.id, o.live)
	}
	if r.Outcome == entrustbus.OutcomeIssued && o.cert == nil || r.Outcome == entrustbus.OutcomeFailed && o.live > 0 {
		t.Errorf("%s ended as %s; the gateway created %d by the calls %q", o.id, r.Outcome, o.live, o.calls)
	}
	// A poll that was under way when the order was cancelled may still end.
	for _, at := range o.polls {
		if at.After(r.FinishedAt.Add(time.Second)) {
			t.Errorf("%s ended as %s and was polled %s later", o.id, r.Outcome, at.Sub(r.FinishedAt))
		}
	}
}

func plotted(calls []string, fate string) (n int) {
	for _, c := range calls {
		if c == fate {
			n++
		}
	}
	return n
}
