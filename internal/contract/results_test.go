package contract

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func TestResults(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	b.finish(t, "a", 0, entrustbus.EncodingMsgpack)
	b.publish(t, "b", "text/plain", []byte("x"), "shop.b.0")
	b.finish(t, "c", 0, entrustbus.EncodingJSON)
	since := time.Now()
	b.finish(t, "d", 0, entrustbus.EncodingMsgpack)

	var got []string
	for r, err := range b.client.Results(t.Context(), time.Time{}) {
		if err != nil {
			wantField(t, "the unreadable one", err, "Content-Type")
			got = append(got, "unreadable")
			continue
		}
		got = append(got, r.ID)
		if r.ID == "d" {
			b.finish(t, "e", 0, entrustbus.EncodingMsgpack) // one that is published while we read
		}
		if r.ID == "e" {
			break
		}
	}
	if g, want := strings.Join(got, " "), "a unreadable c d e"; g != want {
		t.Errorf("got %q, want %q", g, want)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	got = nil
	for r, err := range b.client.Results(ctx, since) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v at the end", err)
			}
			got = append(got, "end")
			continue
		}
		if got = append(got, r.ID); r.ID == "e" {
			end()
		}
	}
	if g, want := strings.Join(got, " "), "d e end"; g != want {
		t.Errorf("since then: got %q, want %q", g, want)
	}
	for _, err := range newClient(t, b.server, entrustbus.ClientConfig{ResultStream: "ELSEWHERE"}).Results(t.Context(), since) {
		if !errors.Is(err, entrustbus.ErrNoStream) {
			t.Errorf("another stream: got %v, want ErrNoStream", err)
		}
	}
}

// upTo reads results after a sequence up to the result of an id, and returns their ids
// and the last sequence.
func upTo(t *testing.T, client *entrustbus.Client, after uint64, last string) (ids string, sequence uint64) {
	t.Helper()
	var got []string
	for r, err := range client.ResultsAfter(t.Context(), after) {
		if err != nil {
			wantField(t, "the unreadable one", err, "Content-Type")
			got = append(got, "unreadable")
			continue
		}
		if r.Sequence <= sequence {
			t.Errorf("%s has sequence %d after %d", r.ID, r.Sequence, sequence)
		}
		got, sequence = append(got, r.ID), r.Sequence
		if r.ID == last {
			break
		}
	}
	return strings.Join(got, " "), sequence
}

func TestResultsAfter(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	// A worker's clock is an hour ahead: a client must not continue from the times in
	// results.
	b.finishAt(t, "a", 0, entrustbus.EncodingMsgpack, time.Now().Add(time.Hour))
	b.publish(t, "b", "text/plain", []byte("x"), "shop.b.0")
	b.publish(t, "c", "application/json", []byte(`{"id":"c","producer":"shop","kind":"issue","outcome":"issued"}`), "shop.c.0")
	ids, first := upTo(t, b.client, 0, "a")
	if ids != "a" {
		t.Errorf("from the beginning: got %q", ids)
	}
	ids, at := upTo(t, b.client, first, "c")
	if ids != "unreadable c" {
		t.Errorf("after the first: got %q", ids)
	}
	if r, err := b.client.Lookup(t.Context(), "c"); err != nil || r.Sequence != at {
		t.Errorf("looked up: got sequence %d, %v, want %d", r.Sequence, err, at)
	}
	// Everything was read: the next result comes next, also after a restart of the
	// server.
	b.finish(t, "d", 0, entrustbus.EncodingMsgpack)
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "the server is back", func() bool {
		_, err := b.client.Lookup(t.Context(), "d")
		return err == nil
	})
	if ids, _ := upTo(t, newClient(t, b.server, entrustbus.ClientConfig{}), at, "d"); ids != "d" {
		t.Errorf("after the last: got %q", ids)
	}

	n := 0
	for _, err := range b.client.ResultsAfter(t.Context(), 1000) {
		if n++; !errors.Is(err, entrustbus.ErrNewStream) {
			t.Errorf("a sequence that the stream has not: got %v, want ErrNewStream", err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors, want 1", n)
	}
	for _, err := range newClient(t, b.server, entrustbus.ClientConfig{ResultStream: "ELSEWHERE"}).ResultsAfter(t.Context(), 1) {
		if !errors.Is(err, entrustbus.ErrNoStream) {
			t.Errorf("another stream: got %v, want ErrNoStream", err)
		}
	}
}
