package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// try makes one write whose acknowledgement is lost.
func (l *lossy) try(t *testing.T, w *ledger.Write) {
	t.Helper()
	l.lose = true
	defer func() { l.lose = false }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.Try(ctx); err == nil || errors.Is(err, ledger.ErrConflict) {
		t.Fatalf("a write without acknowledgement ended as %v", err)
	}
}

// A repeated write whose acknowledgement was lost recognises the record that it wrote, and does
// not store it again. If it took that record for another worker's, the order would be
// indeterminate although no worker called the gateway for it.
func TestRepeatedTryRecognisesItsRecord(t *testing.T) {
	t.Parallel()
	l, js := setup(t)
	first := l.Write(key, order.Stored{}, record(order.Submitting, "w1"), nil)
	js.try(t, first)
	s, err := first.Try(t.Context())
	if err != nil || s.Revision != 1 || s.Owner != "w1" || s.At.IsZero() {
		t.Fatalf("trying again: %+v, %v; want revision 1", s, err)
	}
	wantStored(t, l, key, s)

	second := l.Write(key, s, record(order.Awaiting, "T-1"), nil)
	js.try(t, second)
	js.try(t, second) // the server has the record and refuses this one; this caller recognises it too late
	if s, err = second.Try(t.Context()); err != nil || s.Revision != 2 {
		t.Fatalf("trying again: revision %d, %v; want 2", s.Revision, err)
	}
	wantStored(t, l, key, s)
}

// A write after an indeterminate one succeeds in the end, whether or not the earlier one was
// stored.
func TestWriteAfterAnUnacknowledgedWrite(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		stored   bool
		existing bool
		chain    int // indeterminate writes in a row
	}{
		{"first record, stored", true, false, 1},
		{"first record, not stored", false, false, 1},
		{"later record, stored", true, true, 1},
		{"later record, not stored", false, true, 1},
		{"three in a row, stored", true, true, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l, js := setup(t)
			var cur order.Stored
			if row.existing {
				cur = write(t, l, key, cur, record(order.Unaccepted, "w0"))
			}
			var w *ledger.Write
			for range row.chain {
				w = l.Write(key, cur, record(order.Submitting, "w1"), w)
				js.drop = !row.stored
				js.try(t, w)
				js.drop = false
			}
			s, err := l.Write(key, cur, record(order.Awaiting, "T-1"), w).Try(t.Context())
			if err != nil || s.Phase != order.Awaiting || s.TrackingID != "T-1" {
				t.Fatalf("the next write stored %+v, %v", s, err)
			}
			wantStored(t, l, key, s)
			// The order continues from there.
			wantStored(t, l, key, write(t, l, key, s, record(order.Closed, "")))
		})
	}
}

// Another writer's record is a conflict, also after an indeterminate write, and is not
// overwritten.
func TestAnotherWritersRecordIsAConflict(t *testing.T) {
	t.Parallel()
	for name, mine := range map[string]func(*testing.T, *ledger.Ledger, *lossy) *ledger.Write{
		"read before": func(t *testing.T, l *ledger.Ledger, _ *lossy) *ledger.Write {
			return l.Write(key, write(t, l, key, order.Stored{}, record(order.Unaccepted, "w1")), record(order.Submitting, "w1"), nil)
		},
		"its own acknowledgement lost": func(t *testing.T, l *ledger.Ledger, js *lossy) *ledger.Write {
			w := l.Write(key, order.Stored{}, record(order.Submitting, "w1"), nil)
			js.try(t, w)
			return w
		},
		"after an indeterminate write": func(t *testing.T, l *ledger.Ledger, js *lossy) *ledger.Write {
			w := l.Write(key, order.Stored{}, record(order.Submitting, "w1"), nil)
			js.try(t, w)
			return l.Write(key, order.Stored{}, record(order.Awaiting, "w1"), w)
		},
		"of the same content": func(t *testing.T, l *ledger.Ledger, _ *lossy) *ledger.Write {
			// Two workers may write the same record: only one of them wrote this one.
			return l.Write(key, write(t, l, key, order.Stored{}, record(order.Unaccepted, "w1")), record(order.Submitting, "w2"), nil)
		},
		"none was read": func(t *testing.T, l *ledger.Ledger, _ *lossy) *ledger.Write {
			write(t, l, key, order.Stored{}, record(order.Unaccepted, "w1"))
			return l.Write(key, order.Stored{}, record(order.Submitting, "w1"), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, js := setup(t)
			w := mine(t, l, js)
			cur, err := l.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			other := write(t, l, key, cur, record(order.Submitting, "w2"))
			for range 2 {
				if _, err := w.Try(t.Context()); !errors.Is(err, ledger.ErrConflict) {
					t.Errorf("writing over another writer's record: %v, want a conflict", err)
				}
			}
			wantStored(t, l, key, other)
		})
	}
}

// The same on a frozen server: the write arrives, and its acknowledgement comes after the
// writer has given up.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	server := testbed.StartProcess(t) // a process can be frozen
	js := server.JetStream(t)
	makeBucket(t, js)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	l := ledger.New(js, bucket)
	lose := func(t *testing.T, w *ledger.Write) {
		t.Helper()
		server.Freeze(true)
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		_, err := w.Try(short)
		cancel()
		server.Freeze(false)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a frozen server answered: %v", err)
		}
	}
	// One after another: a frozen server is frozen for every test.
	for _, row := range []struct {
		name string
		last func(t *testing.T, key order.Key) *ledger.Write
		want error
	}{
		{"first", func(t *testing.T, key order.Key) *ledger.Write {
			w := l.Write(key, order.Stored{}, record(order.Submitting, "w1"), nil)
			lose(t, w)
			return w
		}, nil},
		{"first-lost-twice", func(t *testing.T, key order.Key) *ledger.Write {
			w := l.Write(key, order.Stored{}, record(order.Submitting, "w1"), nil)
			lose(t, w)
			lose(t, w)
			return w
		}, nil},
		{"later", func(t *testing.T, key order.Key) *ledger.Write {
			w := l.Write(key, write(t, l, key, order.Stored{}, record(order.Unaccepted, "w1")), record(order.Submitting, "w1"), nil)
			lose(t, w)
			return w
		}, nil},
		{"another-decision-meanwhile", func(t *testing.T, key order.Key) *ledger.Write {
			w := l.Write(key, order.Stored{}, record(order.Submitting, "w1"), nil)
			lose(t, w)
			return l.Write(key, order.Stored{}, record(order.Awaiting, "T-1"), w)
		}, nil},
		{"another-writer-meanwhile", func(t *testing.T, key order.Key) *ledger.Write {
			w := l.Write(key, order.Stored{}, record(order.Submitting, "w1"), nil)
			lose(t, w)
			// The read may overtake the write that the server has not stored yet.
			other, err := l.Get(ctx, key)
			for ; err == nil && other.Phase == ""; other, err = l.Get(ctx, key) {
			}
			if err != nil {
				t.Fatal(err)
			}
			write(t, l, key, other, record(order.Submitting, "w2"))
			return w
		}, ledger.ErrConflict},
	} {
		t.Run(row.name, func(t *testing.T) {
			key := order.Key{Producer: "shop", ID: row.name}
			s, err := row.last(t, key).Try(ctx)
			if !errors.Is(err, row.want) {
				t.Fatalf("trying again: %v, want %v", err, row.want)
			}
			if row.want == nil {
				if next := row.name == "another-decision-meanwhile"; (s.Phase == order.Awaiting) != next {
					t.Errorf("stored %s", s.Phase)
				}
				wantStored(t, l, key, s)
				write(t, l, key, s, record(order.Closed, "")) // the record continues from there
			}
		})
	}
}
