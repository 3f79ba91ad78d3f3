package contract

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func TestClientRefused(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	ctx, end := context.WithCancel(t.Context())
	defer end()
	refusals, err := b.client.Refused(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// Refusals from before the loop are kept.
	for _, message := range []struct{ producer, body string }{
		{"web", `{"producer":"web","sequence":1}`},
		{"shop", `{"producer":"shop","sequence":2}`},
		{"shop", "\xc1"},
		{"shop", `{"producer":"shop","sequence":3}`},
	} {
		msg := nats.NewMsg(entrustbus.Subjects{}.Refused(message.producer))
		msg.Data = []byte(message.body)
		if err := b.js.Conn().PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
	}
	var sequences []uint64
	unreadable := 0
	for r, err := range refusals {
		var field *entrustbus.FieldError
		switch {
		case err == nil:
			if sequences = append(sequences, r.Sequence); r.Sequence == 3 {
				end()
			}
		case errors.As(err, &field):
			unreadable++
		case !errors.Is(err, context.Canceled):
			t.Fatal(err)
		}
	}
	if len(sequences) != 2 || sequences[0] != 2 || sequences[1] != 3 || unreadable != 1 {
		t.Errorf("got the refusals %v and %d that cannot be read", sequences, unreadable)
	}
}
