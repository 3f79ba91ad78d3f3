package contract

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// take performs a worker's first steps for the request of a receipt: it writes a ledger
// record and removes the request from the stream.
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

// Submit compares a request with the ledger record of its id. It publishes the request
// unless the record has other content.
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
			&entrustbus.Issue{CSRDER: der, SANs: []string{"dns:B.example.", "a.example"}}, false},
		{"other-label", &entrustbus.Issue{CSRPEM: text}, &entrustbus.Issue{CSRPEM: text, Labels: map[string]string{"a": "b"}}, false},
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
			if err != nil || receipt.Duplicate {
				t.Fatalf("%s: got %+v, %v for the first one", name, receipt, err)
			}
			if taken {
				b.take(t, first, receipt)
			}
			again, err := b.client.Submit(t.Context(), second)
			if taken && row.other {
				if !errors.Is(err, entrustbus.ErrOtherContent) || again != (entrustbus.Receipt{}) {
					t.Errorf("%s: got %+v, %v, want ErrOtherContent and nothing stored", name, again, err)
				}
				continue
			}
			// Without a record only the worker can notice.
			if err != nil || again.Sequence != receipt.Sequence+1 || again.Duplicate != taken {
				t.Errorf("%s: got %+v, %v, behind %+v", name, again, err, receipt)
			}
		}
	}
}

// withID returns a copy of the request with another id.
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

// After crashes of workers, the record knows only the bytes of the request.
func TestSubmitAfterACrash(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	for name, row := range map[string]struct {
		digest func(body []byte) []byte
		other  bool
	}{
		"bytes":       {func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }, false},
		"other-bytes": {func([]byte) []byte { return make([]byte, 32) }, true},
	} {
		r := &entrustbus.Revoke{ID: name, Serial: "1"}
		body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, r)
		if err != nil {
			t.Fatal(err)
		}
		b.record(t, name, entrustbus.KindRevoke, row.digest(body))
		again, err := b.client.Submit(t.Context(), r)
		if errors.Is(err, entrustbus.ErrOtherContent) != row.other || again.Duplicate == row.other {
			t.Errorf("%s: got %+v, %v", name, again, err)
		}
	}
}

// A producer without read access to the ledger: each request is stored, and the client
// asks for the ledger once.
func TestSubmitWithoutLedger(t *testing.T) {
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
	for i, serial := range []string{"1", "2", "1"} {
		receipt, err := client.Submit(ctx, &entrustbus.Revoke{ID: "a", Serial: serial})
		if err != nil || receipt.Duplicate || receipt.Sequence != uint64(i+1) {
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
	if strings.Count(text.String(), "KV_ENTRUST_ORDERS") != 1 || len(refused) != 0 {
		t.Errorf("the server refused\n%swant the ledger, once", text.String())
	}
}
