package consumer_test

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
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

const producer = "shop"

// rig is one bus, one gateway and the workers between them, all of them real.
type rig struct {
	t      *testing.T
	server *testbed.Server
	js     jetstream.JetStream
	layout streams.Layout
	sim    *gatewaytest.Server
	log    *logBuffer
	cfg    consumer.Config
	gwcfg  gateway.Config
}

// setup starts bus and gateway. Its waits are short enough for a test, in the proportions of
// the defaults.
func setup(t *testing.T, sim gatewaytest.Config) *rig {
	t.Helper()
	return setupOn(t, testbed.Start(t), sim)
}

// setupOn is setup, on a given server.
func setupOn(t *testing.T, server *testbed.Server, sim gatewaytest.Config) *rig {
	t.Helper()
	r := &rig{t: t, server: server, layout: streams.DefaultLayout(), log: new(logBuffer)}
	r.layout.AckWait = 2 * time.Second
	r.js = r.server.JetStream(t)
	if _, err := streams.Provision(t.Context(), r.js, r.layout); err != nil {
		t.Fatal(err)
	}
	sim.RecordPolls = true
	var err error
	if r.sim, err = gatewaytest.Start(sim); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.sim.Close() })
	r.gwcfg = gateway.Config{
		URL: r.sim.URL(), CAID: r.sim.CAID(), ProfileID: r.sim.Profile(),
		EnrollTimeout: 2 * time.Second, Timeout: 2 * time.Second, ThrottleFloor: time.Second,
	}
	r.cfg = consumer.Config{
		Layout: r.layout, CAID: r.sim.CAID(), ProfileID: r.sim.Profile(),
		Schedule: pollsched.Schedule{First: 200 * time.Millisecond, Factor: 2, Max: time.Second, Jitter: 0.1, RetryAfterMax: time.Minute},
		MaxWait:  20 * time.Second, EnrollTimeout: r.gwcfg.EnrollTimeout, EventDelay: 500 * time.Millisecond,
		Drain: 5 * time.Second,
	}
	return r
}

// client returns a client of the simulator's, over real mutual TLS.
func (r *rig) client() *gateway.Client {
	r.t.Helper()
	cache, err := mtlscache.New(mtlscache.Config{CertFile: r.sim.ClientCert(), KeyFile: r.sim.ClientKey(), ServerCAFile: r.sim.ServerCA()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cache.CloseIdleConnections)
	gw, err := gateway.New(r.gwcfg, &http.Client{Transport: cache}, r.logger())
	if err != nil {
		r.t.Fatal(err)
	}
	return gw
}

func (r *rig) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(io.MultiWriter(r.log, testWriter{r.t}), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// run starts a worker that calls the simulator, and returns the function that stops it.
func (r *rig) run() (stop func()) {
	r.t.Helper()
	return r.runWith(r.client())
}

// runWith starts a worker that calls gw, and returns the function that stops it.
func (r *rig) runWith(gw consumer.Gateway) (stop func()) {
	r.t.Helper()
	return r.runOn(r.server.JetStream(r.t), gw)
}

// runOn is runWith, on a given connection.
func (r *rig) runOn(js jetstream.JetStream, gw consumer.Gateway) (stop func()) {
	r.t.Helper()
	bucket := control.Open(control.Config{JS: js, Bucket: r.layout.Control, Worker: consumer.Name(), Gateway: r.sim.URL(), Log: r.logger()})
	w, err := consumer.New(r.cfg, js, bucket, gw, r.logger())
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			r.t.Errorf("running the worker: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	r.t.Cleanup(stop)
	return stop
}

// send publishes a request as a producer does.
func (r *rig) send(req entrustbus.Request, header ...string) {
	r.t.Helper()
	r.sendAs(entrustbus.EncodingMsgpack, req, header...)
}

func (r *rig) sendAs(enc entrustbus.Encoding, req entrustbus.Request, header ...string) {
	r.t.Helper()
	body, err := entrustbus.EncodeRequest(enc, req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.publish(req.Kind(), body, append([]string{
		entrustbus.HeaderContentType, enc.ContentType(),
	}, header...)...)
}

// publish sends raw bytes as a request. Later headers win.
func (r *rig) publish(kind entrustbus.Kind, body []byte, header ...string) {
	r.t.Helper()
	msg := nats.NewMsg(r.layout.Subjects().Request(producer, kind))
	if slices.Contains(header, entrustbus.HeaderReplay) {
		msg.Subject = r.layout.Subjects().Operator(producer, kind) // a generation counts there only
	}
	msg.Data = body
	for i := 0; i < len(header); i += 2 {
		msg.Header.Set(header[i], header[i+1])
	}
	if _, err := r.js.PublishMsg(r.t.Context(), msg); err != nil {
		r.t.Fatal(err)
	}
}

// result waits for the result of an order, of generation replay at least.
func (r *rig) result(id string, replay ...int) *entrustbus.Result {
	r.t.Helper()
	want := append(replay, 0)[0]
	var got *entrustbus.Result
	r.eventually("a result of "+id, func() bool {
		m, err := streams.Last(r.t.Context(), r.js, r.layout.Results, r.layout.Subjects().Result(producer, id))
		if errors.Is(err, streams.ErrNoMessage) {
			return false
		}
		if err != nil {
			r.t.Fatal(err)
		}
		enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		if err != nil {
			r.t.Fatal(err)
		}
		if got, err = entrustbus.DecodeResult(enc, m.Data); err != nil {
			r.t.Fatal(err)
		}
		return got.Replay >= want
	})
	return got
}

// letters returns all dead letters.
func (r *rig) letters() []*deadletter.Letter {
	r.t.Helper()
	var all []*deadletter.Letter
	for m, err := range streams.Scan(r.t.Context(), r.js, r.layout.Dead, ">") {
		if err != nil {
			r.t.Fatal(err)
		}
		l, err := deadletter.Parse(r.layout.Subjects(), m.Sequence, m.Subject, m.Header, m.Data)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// wantLetters waits for exactly these reasons, in any order.
func (r *rig) wantLetters(want ...order.Reason) []*deadletter.Letter {
	r.t.Helper()
	var all []*deadletter.Letter
	r.eventually(fmt.Sprintf("dead letters %v", want), func() bool {
		all = r.letters()
		return len(all) >= len(want)
	})
	var got []order.Reason
	for _, l := range all {
		got = append(got, l.Reason)
	}
	if fmt.Sprint(sorted(got)) != fmt.Sprint(sorted(want)) {
		r.t.Fatalf("dead letters are %v, want %v", got, want)
	}
	return all
}

// deliver has the first message of a consumer delivered and handed back n times.
func (r *rig) deliver(consumer string, n int) {
	r.t.Helper()
	cons, err := r.js.Consumer(r.t.Context(), r.layout.Requests, consumer)
	if err != nil {
		r.t.Fatal(err)
	}
	for range n {
		m, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			r.t.Fatal(err)
		}
		if err := m.Nak(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// record reads an order's ledger record; its phase is "" when there is none.
func (r *rig) record(id string) order.Stored {
	r.t.Helper()
	rec, err := ledger.New(r.js, r.layout.Orders).Get(r.t.Context(), order.Key{Producer: producer, ID: id})
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// closed waits until the record of an order is closed, which may be after its result.
func (r *rig) closed(id string) order.Stored {
	r.t.Helper()
	var rec order.Stored
	r.eventually("the record of "+id+" closed", func() bool { rec = r.record(id); return rec.Phase == order.Closed })
	return rec
}

// loseLedger deletes the ledger's bucket and makes it again.
func (r *rig) loseLedger() {
	r.t.Helper()
	if err := r.js.DeleteKeyValue(r.t.Context(), r.layout.Orders); err != nil {
		r.t.Fatal(err)
	}
	if _, err := streams.Provision(r.t.Context(), r.js, r.layout); err != nil {
		r.t.Fatal(err)
	}
}

// quiet waits until no stream holds work.
func (r *rig) quiet() {
	r.t.Helper()
	for _, name := range []string{r.layout.Requests, r.layout.Parked} {
		r.eventually(name+" empty", func() bool { return r.count(name) == 0 })
	}
}

func (r *rig) count(stream string) uint64 {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), stream)
	if err != nil {
		r.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// enrolled counts all enrollments that the gateway got.
func (r *rig) enrolled() int {
	n := 0
	for _, count := range r.sim.Enrollments() {
		n += count
	}
	return n
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(25 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func sorted[T ~string](s []T) []T {
	out := append([]T(nil), s...)
	for i := range out {
		for j := i; j > 0 && out[j] < out[j-1]; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// csr makes a certificate request with a new key.
func csr(t testing.TB, cn string, names ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: cn}, DNSNames: append(names, cn+".example.net"),
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// logBuffer keeps the log of the workers, to look for secrets in it.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// testWriter writes to the log of the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	defer func() { _ = recover() }() // a line after the end of the test panics
	w.t.Logf("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// patience makes orders wait for far longer than a test, so that only the test wakes them.
func (r *rig) patience() {
	r.cfg.Schedule.First, r.cfg.Schedule.Max, r.cfg.MaxWait = time.Hour, 2*time.Hour, 24*time.Hour
	r.cfg.Schedule.RetryAfterMax = 0
}

// park has a worker park an order, and stops the worker.
func (r *rig) park(id string) order.Key {
	r.t.Helper()
	stop := r.run()
	r.send(&entrustbus.Issue{ID: id, CSRPEM: csr(r.t, id)})
	r.eventually("the order awaiting", func() bool {
		return r.record(id).Phase == order.Awaiting && r.count(r.layout.Requests) == 0
	})
	stop()
	return order.Key{Producer: producer, ID: id}
}

// replay publishes the next generation of a closed order, as an operator does.
func (r *rig) replay(req entrustbus.Request, generation int) {
	r.t.Helper()
	r.eventually("the record closed", func() bool { return r.record(req.OrderID()).Phase == order.Closed })
	r.send(req, nats.MsgIdHdr, entrustbus.ResultMsgID(producer, req.OrderID(), generation), entrustbus.HeaderReplay, fmt.Sprint(generation))
}

// write writes a record to the ledger, as a dead worker left it.
func (r *rig) write(id string, rec order.Record) {
	r.t.Helper()
	key := order.Key{Producer: producer, ID: id}
	if _, err := ledger.New(r.js, r.layout.Orders).Write(key, r.record(id), rec, nil).Try(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// crashed counts n tries of a message of the request stream that ended with a crash.
func (r *rig) crashed(sequence uint64, n int) {
	r.t.Helper()
	m, err := streams.At(r.t.Context(), r.js, r.layout.Requests, sequence)
	if err != nil {
		r.t.Fatal(err)
	}
	bucket := control.Open(control.Config{JS: r.js, Bucket: r.layout.Control, Worker: "gone"})
	for range n {
		if _, err := bucket.CountTry(r.t.Context(), control.Message{Stream: r.layout.Requests, Sequence: sequence, Stored: m.Time}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// wake makes the order's wake-up fire now.
func (r *rig) wake(w *order.Wakeup) {
	r.t.Helper()
	again := *w
	again.Due = time.Now()
	if err := wakeup.New(r.js, r.layout.Parked, r.layout.Subjects()).Schedule(r.t.Context(), &again); err != nil {
		r.t.Fatal(err)
	}
}

// wakeupOf returns the wake-up of an order.
func (r *rig) wakeupOf(key order.Key) *order.Wakeup {
	r.t.Helper()
	w, _, err := wakeup.New(r.js, r.layout.Parked, r.layout.Subjects()).Find(r.t.Context(), key)
	if err != nil || w == nil {
		r.t.Fatalf("the wake-up of %s: %v, %v", key, w, err)
	}
	return w
}
