package deadletter_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// full is a dead letter with every field set.
func full() *deadletter.Letter {
	return &deadletter.Letter{
		Letter: order.Letter{
			Reason: order.Unconfirmed, Key: order.Key{Producer: "web", ID: "a"}, Kind: entrustbus.KindIssue, Generation: 2, TrackingID: "T-1",
			Why: "no answer", Deliveries: 3, Deaths: 2,
			Request: order.Message{
				Subject: "entrust.request.web.issue", Body: []byte{0xc1, 0xff},
				Header: map[string][]string{
					"Content-Type": {"application/json"}, "traceparent": {"00-1"}, "X-Own": {"1", "2"}, "X-Latin": {"M\xfcller"},
					// Headers that the server, a client or this package would take for its own.
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

// A dead letter is read back whole, with the headers of its request as they came.
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

// The message id identifies a repetition of a dead letter: a worker that lost the
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

// A request that leaves no room for the headers of its dead letter is cut, and the dead letter
// says so.
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

// A body that cannot be decoded only helps a person who reads it: its dead letter keeps 64 KiB
// of it, and its headers. A body that can be decoded is kept whole, since it can be replayed.
func TestLetterOfAnUndecodableBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, row := range []struct {
		reason     order.Reason
		size, want int
	}{
		{order.Undecodable, 64 << 10, 64 << 10}, {order.Undecodable, 64<<10 + 1, 64 << 10}, {order.Undecodable, 900 << 10, 64 << 10},
		{order.Invalid, 900 << 10, 900 << 10},
	} {
		l := full()
		l.Reason, l.Request.Body = row.reason, bytes.Repeat([]byte("x"), row.size)
		length := row.size
		if row.size == row.want {
			length = 0
		}
		if got := b.put(t, l); len(got.Request.Body) != row.want || got.Length != length || got.Request.Get("X-Own") != "1" {
			t.Errorf("%s, %d bytes: came back with %d of %d and the headers %v", row.reason, row.size, len(got.Request.Body), got.Length, got.Request.Header)
		}
	}
}

// Beyond the bound of a producer and reason, only its oldest dead letter goes: not one of
// another producer or reason.
func TestLettersAreBounded(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(*testing.T) jetstream.JetStream{
		"one server": func(t *testing.T) jetstream.JetStream { return testbed.Start(t).JetStream(t) },
		"a cluster":  func(t *testing.T) jetstream.JetStream { return testbed.StartCluster(t, 3).JetStream(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &bench{js: server(t), layout: streams.DefaultLayout()}
			b.ctx = t.Context()
			b.layout.DeadPerReason = 3
			if name == "a cluster" {
				b.layout.Replicas = 3
			}
			if _, err := streams.Provision(b.ctx, b.js, b.layout); err != nil {
				t.Fatal(err)
			}
			if err := streams.Verify(b.ctx, b.js, b.layout); err != nil {
				t.Fatal(err)
			}
			b.box = deadletter.New(b.js, b.layout.Dead, b.layout.Subjects())
			kept := []*deadletter.Letter{
				letter(order.Expired, order.Key{Producer: "mail", ID: "first"}),
				letter(order.Invalid, order.Key{Producer: "web", ID: "first"}),
			}
			all := kept
			for i := range 8 {
				all = append(all, letter(order.Expired, order.Key{Producer: "web", ID: fmt.Sprint("o", i)}))
			}
			for i, l := range all {
				l.ID = fmt.Sprint("letter-", i)
				if err := b.box.Put(b.ctx, l); err != nil {
					t.Fatal(err)
				}
			}
			st, err := b.js.Stream(b.ctx, b.layout.Dead)
			if err != nil {
				t.Fatal(err)
			}
			if got := st.CachedInfo().State.Msgs; got != 5 {
				t.Errorf("%d letters are left, want 5", got)
			}
			for i, l := range all {
				_, err := streams.At(b.ctx, b.js, b.layout.Dead, uint64(i+1))
				if gone, want := errors.Is(err, streams.ErrNoMessage), i >= len(kept) && i < len(all)-3; gone != want {
					t.Errorf("the letter of %s (%s) is gone: %v (%v), want %v", l.Key, l.Reason, gone, err, want)
				}
			}
			depths, err := b.box.Depths(b.ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range depths {
				if want := map[order.Reason][2]uint64{order.Expired: {4, 3}, order.Invalid: {1, 1}}[d.Reason]; [2]uint64{d.Letters, d.Most} != want {
					t.Errorf("%s: %d letters, at most %d of a producer; want %v", d.Reason, d.Letters, d.Most, want)
				}
			}
		})
	}
}
