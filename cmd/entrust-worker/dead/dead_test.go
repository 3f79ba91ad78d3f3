package dead

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// writerFunc is what is done with what the program says.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Letters that die while a choice is made are not part of it: a replay of what always dies
// would chase its own.
func TestChoiceIsOfTheBeginning(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	js := testbed.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		t.Fatal(err)
	}
	bus := &connect.Bus{JS: js, Layout: layout, Subjects: layout.Subjects(), Patience: 10 * time.Second}
	put := func(id string) {
		t.Helper()
		if err := box(bus).Put(ctx, &deadletter.Letter{Letter: order.Letter{
			Reason: order.Expired, Key: order.Key{Producer: "web", ID: id}, Kind: "issue", ID: id,
			Request: order.Message{Subject: "entrust.request.web.issue"},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	put("before")
	// What is no letter is reported while the others are read: another one arrives then.
	if _, err := js.Publish(ctx, "entrust.dead.web.what%ever", nil); err != nil {
		t.Fatal(err)
	}
	said := 0
	term := &terminal.Terminal{Err: writerFunc(func(p []byte) (int, error) {
		said++
		put("meanwhile")
		return len(p), nil
	})}
	c, err := choose(ctx, term, bus, deadletter.Filter{}, nil, 0, false)
	if err != nil || said != 1 {
		t.Fatalf("choosing: %v; reported %d things, want 1", err, said)
	}
	if !slices.Equal(c.sequences, []uint64{1}) {
		t.Errorf("chose %v, want the one letter of the beginning", c.sequences)
	}
}
