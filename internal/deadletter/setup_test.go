package deadletter_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// bench is a server with the real streams, and the box of the test.
type bench struct {
	ctx    context.Context
	js     jetstream.JetStream
	layout streams.Layout
	box    *deadletter.Box
}

func setup(t *testing.T) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	js := testbed.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		t.Fatal(err)
	}
	return &bench{
		ctx: ctx, js: js, layout: layout,
		box: deadletter.New(js, layout.Dead, layout.Subjects()),
	}
}

// put publishes a dead letter and returns it as it is read.
func (b *bench) put(t *testing.T, l *deadletter.Letter) *deadletter.Letter {
	t.Helper()
	st, err := b.js.Stream(b.ctx, b.layout.Dead)
	if err != nil {
		t.Fatal(err)
	}
	sequence := st.CachedInfo().State.LastSeq + 1
	l.ID = fmt.Sprint("letter-", sequence)
	if err := b.box.Put(b.ctx, l); err != nil {
		t.Fatal(err)
	}
	read, err := b.box.Get(b.ctx, sequence)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// letter is a minimal dead letter.
func letter(reason order.Reason, key order.Key) *deadletter.Letter {
	return &deadletter.Letter{Letter: order.Letter{Reason: reason, Key: key, ID: "one"}}
}
