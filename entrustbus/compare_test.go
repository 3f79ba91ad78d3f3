package entrustbus_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// take does to the request of a receipt what a worker does first: a ledger record, and then the request leaves the stream.
func (b bus) take(t *testing.T, r entrustbus.Request, receipt entrustbus.Receipt) {
	t.Helper()
	digest, err := entrustbus.Digest(r)
	if err != nil {
		t.Fatal(err)
	}
	b.record(t, r.OrderID(), r.Kind(), digest[:])
	stream, err := b.js.Stream(t.Context(), receipt.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), receipt.Sequence); err != nil {
		t.Fatal(err)
	}
}

func (b bus) record(t *testing.T, id string, kind entrustbus.Kind, digest []byte) {
	t.Helper()
	record, err := msgpack.Marshal(map[string]any{"phase": "submitting", "kind": kind, "digest": digest})
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := b.js.KeyValue(t.Context(), "ENTRUST_ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Put(t.Context(), "shop."+id, record); err != nil {
		t.Fatal(err)
	}
}

// What the server drops unread is compared with what it kept: queued, or taken by a worker.
func TestSubmitOtherContent(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	text, der := testdata(t, "request.pem"), csrDER(t)
	for _, row := range []struct {
		name          string
		first, second entrustbus.Request
		other         bool
	}{
		{"same", &entrustbus.Issue{CSRPEM: text}, &entrustbus.Issue{CSRPEM: text}, false},
		{"same-otherwise-written", &entrustbus.Issue{CSRPEM: text, SANs: []string{"a.example", "b.example"}},
			&entrustbus.Issue{CSRDER: der, SANs: []string{"dns:B.example", "a.example"}}, false},
		{"other-label", &entrustbus.Issue{CSRPEM: text}, &entrustbus.Issue{CSRPEM: text, Labels: map[string]string{"a": "b"}}, true},
		{"other-serial", &entrustbus.Revoke{Serial: "1"}, &entrustbus.Revoke{Serial: "2"}, true},
		{"other-kind", &entrustbus.Track{TrackingID: "t", CSRPEM: text}, &entrustbus.Issue{CSRPEM: text}, true},
	} {
		for _, taken := range []bool{false, true} {
			name := row.name
			if taken {
				name += "-taken"
			}
			first, second := withID(row.first, name), withID(row.second, name)
			receipt, err := b.client.Submit(t.Context(), first)
			if err != nil || receipt.Duplicate || receipt.Compared {
				t.Fatalf("%s: got %+v, %v for the first one", name, receipt, err)
			}
			if taken {
				b.take(t, first, receipt)
			}
			again, err := b.client.Submit(t.Context(), second)
			if again.Sequence != receipt.Sequence || !again.Duplicate || again.Compared == row.other || errors.Is(err, entrustbus.ErrOtherContent) != row.other {
				t.Errorf("%s: got %+v, %v", name, again, err)
			}
			if err != nil && !row.other {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
}

// withID gives a copy of the request an id.
func withID(r entrustbus.Request, id string) entrustbus.Request {
	switch q := r.(type) {
	case *entrustbus.Issue:
		c := *q
		c.ID = id
		return &c
	case *entrustbus.Revoke:
		c := *q
		c.ID = id
		return &c
	case *entrustbus.Track:
		c := *q
		c.ID = id
		return &c
	}
	panic("no such kind here")
}

// What a program without this client published under the message id of the request.
func TestSubmitOtherMessage(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	revoke := &entrustbus.Revoke{ID: "a", Serial: "1"}
	asJSON, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, revoke)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, subject, body string
		other               bool
	}{
		{"same", "entrust.request.shop.revoke", string(asJSON), false},
		{"another-id", "entrust.request.shop.revoke", `{"id":"b","serial":"1"}`, true},
		{"another-producer", "entrust.request.web.revoke", string(asJSON), true},
		{"rubbish", "entrust.request.shop.revoke", "\xc1", true},
		{"invalid", "entrust.request.shop.revoke", `{"id":"a"}`, true},
	} {
		msg := nats.NewMsg(row.subject)
		msg.Data = []byte(strings.ReplaceAll(row.body, `"a"`, `"`+row.name+`"`))
		msg.Header.Set(jetstream.MsgIDHeader, "shop."+row.name)
		if _, err := b.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		receipt, err := b.client.Submit(t.Context(), withID(revoke, row.name))
		if !receipt.Duplicate || errors.Is(err, entrustbus.ErrOtherContent) != row.other || err != nil && !row.other {
			t.Errorf("%s: got %+v, %v", row.name, receipt, err)
		}
	}

	// A record of what killed workers knows the bytes only, one that is damaged knows nothing.
	for name, row := range map[string]struct {
		digest          func(body []byte) []byte
		other, compared bool
	}{
		"bytes":       {func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }, false, true},
		"other-bytes": {func([]byte) []byte { return make([]byte, 32) }, true, false},
	} {
		r := withID(revoke, name)
		receipt, err := b.client.Submit(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, r)
		if err != nil {
			t.Fatal(err)
		}
		b.take(t, r, receipt)
		b.record(t, name, entrustbus.KindRevoke, row.digest(body))
		again, err := b.client.Submit(t.Context(), r)
		if errors.Is(err, entrustbus.ErrOtherContent) != row.other || again.Compared != row.compared {
			t.Errorf("%s: got %+v, %v", name, again, err)
		}
	}
}

// A producer that may read neither the ledger nor the stream of requests: the duplicate is reported as one and no more, and
// the server is asked for each of them once.
func TestSubmitDuplicateUnseen(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t, `authorization { users: [
		{ user: operator, password: x }
		{ user: shop, password: x, permissions: { publish: { allow: "entrust.request.shop.*" }, subscribe: { allow: "_INBOX.>" } } }
	] }`)
	if _, err := streams.Provision(t.Context(), server.JetStream(t, nats.UserInfo("operator", "x")), streams.DefaultLayout()); err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 100)
	nc := server.Conn(t, nats.UserInfo("shop", "x"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := client.Submit(ctx, &entrustbus.Revoke{ID: "a", Serial: "1"}); err != nil {
		t.Fatal(err)
	}
	for _, serial := range []string{"1", "2", "1", "2", "1"} {
		receipt, err := client.Submit(ctx, &entrustbus.Revoke{ID: "a", Serial: serial})
		if err != nil || !receipt.Duplicate || receipt.Compared {
			t.Errorf("got %+v, %v", receipt, err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for len(refused) > 0 {
		text.WriteString((<-refused).Error() + "\n")
	}
	if strings.Count(text.String(), "KV_ENTRUST_ORDERS") != 1 || strings.Count(text.String(), "ENTRUST_REQUESTS") != 1 {
		t.Errorf("the server refused\n%swant the ledger and the stream of requests, once each", text.String())
	}
}
