package control

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestScanIsWrittenByCompareAndSet(t *testing.T) {
	t.Parallel()
	server, kv := newBus(t)
	a, b := worker(server.JetStream(t), "a"), worker(server.JetStream(t), "b")
	run(t, b, Handlers{})
	first, err := a.ReadScan(t.Context(), ScanRecent)
	if err != nil || first != (Scan{}) {
		t.Fatalf("the scan of a new fleet is %+v, %v", first, err)
	}
	old := first
	first.Source, first.Cursor, first.Lagging, first.Complete, first.Oldest = "made at noon", 100, 60, true, time.Minute
	must(t, a.SaveScan(t.Context(), ScanRecent, &first))
	first.Cursor = 101
	must(t, a.SaveScan(t.Context(), ScanRecent, &first))
	if err := b.SaveScan(t.Context(), ScanRecent, &old); !errors.Is(err, ErrConflict) {
		t.Errorf("writing over another worker's scan: %v", err)
	}
	got, err := b.ReadScan(t.Context(), ScanRecent)
	if got.Age = 0; err != nil || got != first {
		t.Errorf("the scan is %+v, %v; want %+v", got, err, first)
	}
	eventually(t, "the scan through the watch", func() bool {
		s, ok := b.LastScan(ScanRecent)
		return ok && s.Cursor == 101 && s.Age >= 0
	})
	if _, ok := b.LastScan(ScanFull); ok {
		t.Error("a full scan that never was")
	}
	put(t, kv, scanPrefix+ScanRecent, "rubbish")
	got, err = a.ReadScan(t.Context(), ScanRecent)
	if err != nil || got.Cursor != 0 || got.Revision == 0 {
		t.Errorf("rubbish is read as %+v, %v", got, err)
	}
	must(t, a.SaveScan(t.Context(), ScanRecent, &got))
}

func TestTriesOfAMessage(t *testing.T) {
	t.Parallel()
	server, kv := newBus(t)
	a, b := worker(server.JetStream(t), "a"), worker(server.JetStream(t), "b")
	m := Message{Stream: "ENTRUST_REQUESTS", Sequence: 42, Stored: time.Date(2026, 11, 28, 1, 2, 3, 4, time.UTC)}
	want := func(w *Bucket, m Message, want int) {
		t.Helper()
		if got, age, err := w.Tries(t.Context(), m); got != want || err != nil || age < 0 || want == 0 && age != 0 {
			t.Errorf("%d tries %s ago, %v; want %d", got, age, err, want)
		}
	}
	want(a, m, 0)
	for i := range 3 {
		w := []*Bucket{a, b}[i%2]
		if n, err := w.CountTry(t.Context(), m); n != i+1 || err != nil {
			t.Errorf("counting try %d: %d, %v", i+1, n, err)
		}
	}
	want(b, m, 3)
	local := m
	local.Stored = m.Stored.In(time.FixedZone("elsewhere", 3600))
	want(a, local, 3) // the same instant
	// The stream was made again and gave the sequence to another message.
	made := m
	made.Stored = m.Stored.Add(time.Second)
	want(a, made, 0)
	if n, err := a.CountTry(t.Context(), made); n != 1 || err != nil {
		t.Errorf("counting the other message: %d, %v", n, err)
	}
	want(a, m, 0)
	must(t, b.ClearTries(t.Context(), made))
	must(t, b.ClearTries(t.Context(), made))
	want(a, made, 0)
	if _, err := kv.Get(t.Context(), m.key()); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the cleared count: %v", err)
	}
	if n, err := a.CountTry(t.Context(), made); n != 1 || err != nil {
		t.Errorf("counting after that: %d, %v", n, err)
	}
}
