package deadletter_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// full is a letter with every field set.
func full() *deadletter.Letter {
	return &deadletter.Letter{
		Letter: order.Letter{
			Reason: order.Unconfirmed, Key: order.Key{Producer: "web", ID: "a"}, Kind: entrustbus.KindIssue, Generation: 2, TrackingID: "T-1",
			Why: "no answer", Deliveries: 3, Deaths: 2,
			Request: order.Message{
				Subject: "entrust.request.web.issue", Body: []byte{0xc1, 0xff},
				Header: map[string][]string{
					"Content-Type": {"application/json"}, "traceparent": {"00-1"}, "X-Own": {"1", "2"}, "X-Latin": {"M\xfcller"},
					// What the server, a client or this package would take for its own.
					"Nats-Msg-Id": {"web.a"}, "Nats-TTL": {"1s"}, "Nats-Expected-Last-Subject-Sequence": {"9"}, "Nats-Rollup": {"all"},
					"Status": {"503"}, "Description": {"gone"}, "Entrust-Dead-Reason": {"expired"}, "Entrust-Replay": {"9"},
					"Entrust-Deaths": {"9"}, "Entrust-Order-Id": {"b"}, "Entrust-Tracking-Id": {"T-9"}, "Entrust-Kind": {"revoke"},
					"Entrust-Dead-Length": {"7"}, "Entrust-Original-X": {"twice"}, "Entrust-Dead-Time": {"never"},
				},
			},
		},
		Time: time.Date(2026, 11, 28, 1, 2, 3, 4, time.UTC),
	}
}

// A letter comes back whole, with the headers of its request as they came.
func TestLetterRoundTrip(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := full()
	got := b.put(t, want)
	want.Sequence = 1
	if !reflect.DeepEqual(got, want) {
		t.Errorf("came back as %+v\nwant %+v", got, want)
	}
	without := b.put(t, &deadletter.Letter{Letter: order.Letter{Reason: order.Undecodable, Key: order.Key{Producer: "not a token"}}, Time: want.Time})
	if without.Key != (order.Key{Producer: deadletter.NoProducer}) || without.Reason != order.Undecodable || without.Deaths != 0 {
		t.Errorf("a letter without producer and id came back as %+v", without)
	}
}

// The message id tells repeats of a letter from new ones: a worker that lost the
// acknowledgement publishes it again.
func TestLetterIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := full()
	l.ID = "letter"
	for range 3 {
		if err := b.box.Put(b.ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	l.ID = "another letter"
	if err := b.box.Put(b.ctx, l); err != nil {
		t.Fatal(err)
	}
	if n, err := b.box.Newest(b.ctx); n != 2 || err != nil {
		t.Errorf("%d letters (%v), want 2", n, err)
	}
}

// An error text becomes one line of bounded length.
func TestLetterErrorIsOneLine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := full()
	l.Why = "first\r\nNats-Rollup: all\x00" + strings.Repeat("ü", 1000)
	got := b.put(t, l).Why
	if strings.ContainsAny(got, "\r\n\x00") || len([]rune(got)) != 512 || !strings.HasPrefix(got, "first  Nats-Rollup: all ü") {
		t.Errorf("the error is %q", got)
	}
}

// A request that leaves no room for what a letter adds is cut, and says so.
func TestLetterThatIsTooLarge(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limit := int(b.js.Conn().MaxPayload())
	for name, change := range map[string]func(*order.Message){
		"body":              func(m *order.Message) { m.Body = bytes.Repeat([]byte("x"), limit) },
		"headers of 64 KiB": func(m *order.Message) { m.Header["X-Large"] = []string{strings.Repeat("x", 1<<16-1100)} },
		"headers":           func(m *order.Message) { m.Header["X-Large"] = []string{strings.Repeat("x", limit-2000)} },
	} {
		l := full()
		change(&l.Request)
		got := b.put(t, l)
		if got.Length != len(l.Request.Body) || !bytes.HasPrefix(l.Request.Body, got.Request.Body) || got.Request.Header["X-Own"] != nil {
			t.Errorf("%s: %d of %d bytes and the headers %v", name, len(got.Request.Body), got.Length, got.Request.Header)
		}
		if got.Request.Get("Content-Type") != "application/json" || got.Key != l.Key || got.Why != l.Why || got.Generation != 2 {
			t.Errorf("%s: came back as %+v", name, got)
		}
	}
}
