package contract

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// bus is a server with the worker's streams, and a client of the producer "shop".
type bus struct {
	server *testbed.Server
	js     jetstream.JetStream // on a connection that the client does not use
	client *entrustbus.Client
}

func newBus(t *testing.T, cfg entrustbus.ClientConfig) bus {
	t.Helper()
	b := bus{server: testbed.Start(t)}
	b.js = b.server.JetStream(t)
	if _, err := streams.Provision(t.Context(), b.js, streams.DefaultLayout()); err != nil {
		t.Fatal(err)
	}
	b.client = newClient(t, b.server, cfg)
	return b
}

func newClient(t *testing.T, server *testbed.Server, cfg entrustbus.ClientConfig) *entrustbus.Client {
	t.Helper()
	cfg.Producer = "shop"
	client, err := entrustbus.New(server.Conn(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// finish publishes a result as a worker would.
func (b bus) finish(t *testing.T, id string, replay int, enc entrustbus.Encoding) {
	t.Helper()
	b.finishAt(t, id, replay, enc, time.Now())
}

func (b bus) finishAt(t *testing.T, id string, replay int, enc entrustbus.Encoding, at time.Time) {
	t.Helper()
	r := &entrustbus.Result{
		ID: id, Producer: "shop", Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeIssued, Replay: replay, FinishedAt: at,
	}
	body, err := entrustbus.EncodeResult(enc, r)
	if err != nil {
		t.Fatal(err)
	}
	b.publish(t, id, enc.ContentType(), body, entrustbus.ResultMsgID("shop", id, replay))
}

func (b bus) publish(t *testing.T, id, contentType string, body []byte, msgID string) {
	t.Helper()
	msg := nats.NewMsg(entrustbus.Subjects{}.Result("shop", id))
	msg.Header.Set(entrustbus.HeaderContentType, contentType)
	msg.Header.Set(jetstream.MsgIDHeader, msgID)
	msg.Data = body
	if _, err := b.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

// until polls a condition that depends on a real server.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestNewRefusesNames(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		cfg   entrustbus.ClientConfig
		field string
	}{
		{"no producer", entrustbus.ClientConfig{}, "producer"},
		{"two tokens", entrustbus.ClientConfig{Producer: "a.b"}, "producer"},
		{"wildcard prefix", entrustbus.ClientConfig{Producer: "a", Subjects: entrustbus.Subjects{Prefix: "a.*"}}, "prefix"},
		{"prefix with an empty token", entrustbus.ClientConfig{Producer: "a", Subjects: entrustbus.Subjects{Prefix: "a..b"}}, "prefix"},
	} {
		_, err := entrustbus.New(nil, row.cfg)
		wantField(t, row.name, err, row.field)
	}
}

func TestSubmit(t *testing.T) {
	t.Parallel()
	for _, enc := range encodings {
		t.Run(enc.String(), func(t *testing.T) {
			t.Parallel()
			b := newBus(t, entrustbus.ClientConfig{
				Encoding: enc,
				Trace: func(context.Context) (string, string) {
					return "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b"
				},
			})
			for name, r := range producerRequests(t) {
				first, err := b.client.Submit(t.Context(), r)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if first.Duplicate || first.Sequence == 0 || first.Stream != "ENTRUST_REQUESTS" {
					t.Errorf("%s: got %+v for the first one", name, first)
				}
				stream, err := b.js.Stream(t.Context(), first.Stream)
				if err != nil {
					t.Fatal(err)
				}
				msg, err := stream.GetMsg(t.Context(), first.Sequence)
				if err != nil {
					t.Fatal(err)
				}
				producer, kind, err := entrustbus.Subjects{}.ParseRequest(msg.Subject)
				if err != nil || producer != "shop" || kind != r.Kind() {
					t.Errorf("%s: subject %q means %q %q, %v", name, msg.Subject, producer, kind, err)
				}
				for header, want := range map[string]string{
					"Nats-Msg-Id":      "", // it would swallow other content under the id
					"Content-Type":     enc.ContentType(),
					"Entrust-Order-Id": r.OrderID(),
					"traceparent":      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
					"tracestate":       "a=b",
				} {
					if got := msg.Header.Get(header); got != want {
						t.Errorf("%s: header %s is %q, want %q", name, header, got, want)
					}
				}
				got, err := entrustbus.DecodeRequest(kind, enc, msg.Data)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if d := difference(got, r); d != "" {
					t.Errorf("%s: %s", name, d)
				}
			}
		})
	}
}

func TestSubmitRefusals(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t)
	js := server.JetStream(t)
	client := newClient(t, server, entrustbus.ClientConfig{})
	cancel := func(id string) entrustbus.Request { return &entrustbus.Cancel{ID: id, Order: "other"} }

	_, err := client.Submit(t.Context(), &entrustbus.Cancel{ID: "a", Order: "a"})
	wantField(t, "cancels itself", err, "order")

	// Sometimes the context ends during a try: then the effect is unknown.
	until(t, "submitting without a stream is ErrNoStream", func() bool {
		ctx, end := context.WithTimeout(t.Context(), 600*time.Millisecond)
		defer end()
		_, err = client.Submit(ctx, cancel("a"))
		return errors.Is(err, entrustbus.ErrNoStream)
	})
	if !strings.Contains(err.Error(), "provision") || !strings.Contains(err.Error(), "try again") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a stream: got %v, want what to do, and the context's error", err)
	}

	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "R", Subjects: []string{"entrust.request.*.cancel"}, Discard: jetstream.DiscardNew, MaxMsgs: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = client.Submit(t.Context(), cancel("a")); err != nil {
		t.Fatal(err)
	}
	if _, err = client.Submit(t.Context(), cancel("b")); !errors.Is(err, entrustbus.ErrStreamFull) {
		t.Errorf("on a full stream: got %v, want ErrStreamFull", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err = client.Submit(ended, cancel("c")); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: got %v", err)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	if _, err := b.client.Lookup(t.Context(), "a"); !errors.Is(err, entrustbus.ErrNoResult) {
		t.Errorf("before there is one: got %v, want ErrNoResult", err)
	}
	_, err := b.client.Lookup(t.Context(), "a.*")
	wantField(t, "wildcard", err, "id")

	for replay, enc := range []entrustbus.Encoding{entrustbus.EncodingMsgpack, entrustbus.EncodingJSON, entrustbus.EncodingMsgpack} {
		b.finish(t, "a", replay, enc)
		got, err := b.client.Lookup(t.Context(), "a")
		if err != nil || got.Replay != replay || got.ID != "a" {
			t.Errorf("generation %d in %v: got %+v, %v", replay, enc, got, err)
		}
	}
	b.publish(t, "b", "application/json", []byte(`{"v":9}`), "shop.b.0")
	_, err = b.client.Lookup(t.Context(), "b")
	wantField(t, "a later version", err, "v")

	lost := newClient(t, b.server, entrustbus.ClientConfig{ResultStream: "ELSEWHERE"})
	if _, err := lost.Lookup(t.Context(), "a"); !errors.Is(err, entrustbus.ErrNoStream) {
		t.Errorf("another stream: got %v, want ErrNoStream", err)
	}
	if _, err := lost.Wait(t.Context(), "a"); !errors.Is(err, entrustbus.ErrNoStream) {
		t.Errorf("waiting on another stream: got %v, want ErrNoStream", err)
	}
}

// lookups counts the clients' requests to the stream of results.
func (b bus) lookups(t *testing.T) *atomic.Int64 {
	t.Helper()
	var n atomic.Int64
	nc := b.server.Conn(t)
	if _, err := nc.Subscribe("$JS.API.DIRECT.GET.ENTRUST_RESULTS.>", func(*nats.Msg) { n.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &n
}

type answer struct {
	result *entrustbus.Result
	err    error
}

func (b bus) wait(ctx context.Context, id string) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		r, err := b.client.Wait(ctx, id)
		out <- answer{r, err}
	}()
	return out
}

// firstLooks is how often a wait looks before its pauses reach 30 s. firstPauses is the
// sum of the pauses before that.
const (
	firstLooks  = 7
	firstPauses = 13650 * time.Millisecond
)

// patient waits until the waits have made all their early looks. Any further look then
// has another reason than the time.
func patient(t *testing.T, lookups *atomic.Int64, waits int64) {
	t.Helper()
	until(t, "the waits have made their first looks", func() bool { return lookups.Load() >= firstLooks*waits })
}

func TestWait(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	b.finish(t, "early", 0, entrustbus.EncodingMsgpack)
	if r, err := b.client.Wait(t.Context(), "early"); err != nil || r.ID != "early" {
		t.Fatalf("a result that is there: got %+v, %v", r, err)
	}

	lookups := b.lookups(t)
	late := b.wait(t.Context(), "late")
	patient(t, lookups, 1)
	// An announcement without a result: subscribers see a message that the stream
	// refuses.
	refused := nats.NewMsg(entrustbus.Subjects{}.Result("shop", "late"))
	refused.Header.Set(jetstream.ExpectedLastSeqHeader, "4711")
	if _, err := b.js.PublishMsg(t.Context(), refused); err == nil {
		t.Fatal("the stream took what it was to refuse")
	}
	until(t, "a look-up for the announcement", func() bool { return lookups.Load() > firstLooks })
	b.finish(t, "late", 1, entrustbus.EncodingJSON)
	if a := <-late; a.err != nil || a.result.Replay != 1 {
		t.Errorf("got %+v, %v", a.result, a.err)
	}

	b.publish(t, "odd", "text/plain", []byte("x"), "shop.odd.0")
	_, err := b.client.Wait(t.Context(), "odd")
	wantField(t, "a result that cannot be read", err, "Content-Type")
}

// A result that the server is storing when Wait begins is missing at the first look, and
// its announcement comes before the subscription. This test forces that case: the server
// sends this connection no announcement.
func TestWaitFindsWhatWasNotAnnounced(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	nc := b.server.Conn(t, nats.NoEcho())
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	b.client = client
	if b.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // less than the longest pause between two looks
	defer cancel()
	lookups := b.lookups(t)
	waiting := b.wait(ctx, "order-1")
	until(t, "the first look-up", func() bool { return lookups.Load() >= 1 })
	b.finish(t, "order-1", 0, entrustbus.EncodingMsgpack)
	if a := <-waiting; a.err != nil || a.result.ID != "order-1" {
		t.Errorf("got %+v, %v", a.result, a.err)
	}
}

func TestWaitDoesNotPoll(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	lookups := b.lookups(t)
	const waits = 50
	begun := time.Now()
	var answers []<-chan answer
	for i := range waits {
		answers = append(answers, b.wait(t.Context(), fmt.Sprintf("order-%d", i)))
	}
	patient(t, lookups, waits)
	if took := time.Since(begun); took < firstPauses {
		t.Errorf("%d look-ups each took %v, less than %v", firstLooks, took, firstPauses)
	}
	for i := range waits {
		b.finish(t, fmt.Sprintf("order-%d", i), 0, entrustbus.EncodingMsgpack)
	}
	for i, c := range answers {
		if a := <-c; a.err != nil || a.result.ID != fmt.Sprintf("order-%d", i) {
			t.Errorf("wait %d: got %+v, %v", i, a.result, a.err)
		}
	}
	// The first looks, one after the announcement, and sometimes two that came before the
	// message was stored.
	if n := lookups.Load(); n > (firstLooks+3)*waits {
		t.Errorf("%d waits made %d look-ups", waits, n)
	}
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	lookups := b.lookups(t)
	cause := errors.New("had enough")
	ctx, end := context.WithCancelCause(t.Context())
	waiting := b.wait(ctx, "never")
	until(t, "the first look-up", func() bool { return lookups.Load() >= 1 })
	end(cause)
	if a := <-waiting; !errors.Is(a.err, cause) {
		t.Errorf("got %v, want the context's cause", a.err)
	}
}

func TestWaitOutlivesTheServer(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	lookups := b.lookups(t)
	waiting := b.wait(t.Context(), "a")
	until(t, "the first look-up", func() bool { return lookups.Load() >= 1 })
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
	body, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, &entrustbus.Result{
		ID: "a", Producer: "shop", Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeIssued,
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the restarted server takes a result", func() bool {
		ctx, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		_, err := b.js.Publish(ctx, entrustbus.Subjects{}.Result("shop", "a"), body)
		return err == nil
	})
	if a := <-waiting; a.err != nil || a.result.ID != "a" {
		t.Errorf("got %+v, %v", a.result, a.err)
	}
}

// breakable lets a test cut a connection and restore it.
type breakable struct {
	mu   sync.Mutex
	down bool
	conn net.Conn
}

func (b *breakable) Dial(network, address string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, errors.New("the test holds the line")
	}
	conn, err := net.Dial(network, address)
	b.conn = conn
	return conn, err
}

func (b *breakable) set(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down = down; down {
		b.conn.Close()
	}
}

// A client without a connection misses announcements.
func TestWaitLooksAgainWhenReconnected(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	var line breakable
	nc := b.server.Conn(t, nats.SetCustomDialer(&line))
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	b.client = client
	lookups := b.lookups(t)
	ctx, end := context.WithTimeout(t.Context(), firstPauses+25*time.Second) // the next regular look comes later
	defer end()
	waiting := b.wait(ctx, "a")
	patient(t, lookups, 1)
	line.set(true)
	until(t, "the connection is gone", func() bool { return !nc.IsConnected() })
	b.finish(t, "a", 0, entrustbus.EncodingMsgpack)
	line.set(false)
	if a := <-waiting; a.err != nil || a.result.ID != "a" {
		t.Errorf("got %+v, %v", a.result, a.err)
	}
}

// A stream that answered once and then does not is an outage, which an operator repairs.
func TestWaitOutlivesTheStream(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	nc := b.server.Conn(t)
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	b.client = client
	// Count look-ups by their answers: a subscriber would hide from the server that
	// nothing serves them.
	answers := func(n uint64) func() bool { return func() bool { return nc.Stats().InMsgs >= n } }
	waiting := b.wait(t.Context(), "a")
	until(t, "the stream's description and the first look-up", answers(2))
	if err := b.js.DeleteStream(t.Context(), "ENTRUST_RESULTS"); err != nil {
		t.Fatal(err)
	}
	before := nc.Stats().InMsgs
	if err := b.js.Conn().Publish(entrustbus.Subjects{}.Result("shop", "a"), nil); err != nil {
		t.Fatal(err)
	}
	until(t, "an answer that was on its way, the announcement, and a look-up that nobody serves", answers(before+3))
	if _, err := streams.Provision(t.Context(), b.js, streams.DefaultLayout()); err != nil {
		t.Fatal(err)
	}
	b.finish(t, "a", 0, entrustbus.EncodingMsgpack)
	if a := <-waiting; a.err != nil || a.result.ID != "a" {
		t.Errorf("got %+v, %v", a.result, a.err)
	}
}

// The end of the context is the last error, although it also ends the watcher below.
func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	bucket, err := b.js.KeyValue(t.Context(), "ENTRUST_ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Put(t.Context(), "shop.a", packOrder(t, "open")); err != nil {
		t.Fatal(err)
	}
	for range 20 { // the order of the two ends is random
		ctx, end := context.WithCancel(t.Context())
		defer end()
		var last error
		for _, err := range b.client.Watch(ctx, "a") {
			end()
			time.Sleep(20 * time.Millisecond) // until the watcher has ended too
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Fatalf("the last error is %v", last)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	bucket, err := b.js.KeyValue(t.Context(), "ENTRUST_ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	put := func(phase string) {
		t.Helper()
		if _, err := bucket.Put(t.Context(), "shop.a", packOrder(t, phase)); err != nil {
			t.Fatal(err)
		}
	}
	put("submitting")
	next := map[entrustbus.Phase]func(){
		"submitting": func() { put("awaiting") },
		"awaiting":   func() { _ = bucket.Purge(t.Context(), "shop.a"); put("closed") }, // a purge is not a phase
	}
	var got []string
	for o, err := range b.client.Watch(t.Context(), "a") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(o.Phase))
		if o.UpdatedAt.IsZero() {
			t.Error("the record has no time")
		}
		if o.Phase == entrustbus.PhaseClosed {
			break
		}
		next[o.Phase]()
	}
	if g, want := strings.Join(got, " "), "submitting awaiting closed"; g != want {
		t.Errorf("got %q, want %q", g, want)
	}

	ctx, end := context.WithCancel(t.Context())
	end()
	for _, err := range b.client.Watch(ctx, "nobody") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: got %v", err)
		}
	}
	for _, err := range b.client.Watch(t.Context(), "a.>") {
		wantField(t, "wildcard", err, "id")
	}
	for _, err := range newClient(t, b.server, entrustbus.ClientConfig{LedgerBucket: "ELSEWHERE"}).Watch(t.Context(), "a") {
		if !errors.Is(err, entrustbus.ErrNoStream) {
			t.Errorf("another bucket: got %v, want ErrNoStream", err)
		}
	}
}
