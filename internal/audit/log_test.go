package audit

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// trailOn makes a stream for a trail, and a log that writes to it.
func trailOn(t *testing.T, chain string, js jetstream.JetStream) *Log {
	t.Helper()
	layout := streams.DefaultLayout()
	layout.Audited = true
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	return New(Config{
		JS: js, Stream: layout.Audit, Subjects: layout.Subjects(), Chain: chain, Key: newSite(t).key, Now: time.Now,
		Policy: func() string { return "p" }, Log: slog.New(slog.DiscardHandler),
	})
}

// records reads the trail, and fails the test if it has a fault.
func records(t *testing.T, l *Log) (all []*Record) {
	t.Helper()
	v := Verifier{Keys: []ed25519.PublicKey{l.Key.Public()}}
	for m, err := range Read(t.Context(), l.JS, l.Stream, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(m.Subject, ".filler") {
			continue
		}
		v.Add(m)
		r, err := Decode(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	for _, f := range v.Report().Faults {
		if !strings.Contains(f.What, "missing from the stream") { // the filler's places
			t.Error(f.Error())
		}
	}
	return all
}

func decide(t *testing.T, l *Log, id string) {
	t.Helper()
	if err := l.Append(t.Context(), id, &Record{Decision: "issued", Producer: "shop", Order: id}); err != nil {
		t.Error(err)
	}
}

// Many concurrent writers make one chain, in the order of the stream.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	l := trailOn(t, "a", testbed.Start(t).JetStream(t))
	go l.Run(context.Background())
	var all sync.WaitGroup
	for w := range 32 {
		all.Go(func() {
			for i := range 20 {
				decide(t, l, fmt.Sprintf("o%d-%d", w, i))
			}
		})
	}
	all.Wait()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := records(t, l)
	if len(got) != 32*20+2 {
		t.Errorf("%d records", len(got))
	}
	for i, r := range got {
		if r.Number != uint64(i+1) || len(r.Late) > 0 {
			t.Errorf("record %d stands at %d, late %v", r.Number, i+1, r.Late)
		}
	}
}

// A head comes with a new day.
func TestHeadOfTheDay(t *testing.T) {
	t.Parallel()
	l := trailOn(t, "a", testbed.Start(t).JetStream(t))
	now := begun
	l.Now = func() time.Time { return now }
	ctx := t.Context()
	l.write(ctx, l.head(ctx, HeadStart))
	for range 3 {
		now = now.Add(5 * time.Hour) // 17:00, 22:00, 3:00
		l.look(ctx)
	}
	l.look(ctx)
	var heads []string
	for _, r := range records(t, l) {
		heads = append(heads, r.Head.Of+" "+r.Time.Format(time.TimeOnly))
	}
	if want := []string{"start 12:00:00", "day 03:00:00"}; !slices.Equal(heads, want) {
		t.Errorf("heads %q, want %q", heads, want)
	}
}

// If the stream refuses a part of a batch, the next record names the records that are
// stored later. The log is blocked meanwhile.
func TestPartOfABatchIsRefused(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	l := trailOn(t, "a", js)
	var blocked []bool
	l.Blocked = func(b bool) { blocked = append(blocked, b) }
	ctx := t.Context()
	l.write(ctx, l.head(ctx, HeadStart))
	st, err := js.Stream(ctx, l.Stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxBytes = int64(st.CachedInfo().State.Bytes) + 8<<10
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	large, small := l.entryOf(&Record{Decision: "denied", Producer: "shop", Rule: strings.Repeat("x", 12<<10)}), l.entryOf(&Record{Decision: "issued", Producer: "shop"})
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.write(ctx, large, small)
	}()
	<-small.stored
	if err := l.Wait(timeout(t, 50*time.Millisecond)); err == nil {
		t.Error("the log is not blocked")
	}
	cfg.MaxBytes = 1 << 20
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := l.Wait(ctx); err != nil {
		t.Error(err)
	}
	l.write(ctx, l.head(ctx, HeadStop))
	got := records(t, l)
	if len(got) != 4 || got[1].Number != 3 || got[2].Number != 2 || !slices.Equal(got[3].Late, []uint64{2}) {
		t.Errorf("the trail holds %+v", got)
	}
	if want := []bool{false, true, false}; !slices.Equal(blocked, want) {
		t.Errorf("blocked %v, want %v", blocked, want)
	}
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// A record whose acknowledgement was lost is not stored twice. If another worker recorded
// the same decision, the record is repeated.
func TestRepetition(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	a, b := trailOn(t, "a", js), trailOn(t, "b", js)
	b.Key = a.Key
	ctx := t.Context()
	a.write(ctx, a.head(ctx, HeadStart))
	b.write(ctx, b.head(ctx, HeadStart))
	e := &entry{record: &Record{Decision: "issued", Producer: "shop", Order: "o"}, id: "shop.o.0.issued", ctx: ctx, stored: make(chan struct{})}
	a.write(ctx, e)
	e.seq, e.stored = 0, make(chan struct{}) // as if the acknowledgement were lost
	if err := a.publish(ctx, []*entry{e}); err != nil {
		t.Fatal(err)
	}
	if e.seq != 3 {
		t.Errorf("the record is known at %d, want 3", e.seq)
	}
	b.write(ctx, &entry{record: &Record{Decision: "issued", Producer: "shop", Order: "o"}, id: "shop.o.0.issued", ctx: ctx, stored: make(chan struct{})})
	b.write(ctx, b.head(ctx, HeadStop))
	got := records(t, a)
	if len(got) != 5 || got[3].Chain != "b" || got[3].Order != "o" {
		t.Errorf("the trail holds %d records", len(got))
	}
	m, err := streams.At(ctx, js, a.Stream, 4)
	if err != nil || m.Header.Get(HeaderFirst) != "3" {
		t.Errorf("the repetition names %q, %v", m.Header.Get(HeaderFirst), err)
	}
}

// The first denials of a producer in an hour have records of their own. One record sums
// up the rest.
func TestDenialsAreSummedUp(t *testing.T) {
	t.Parallel()
	var d denials
	alone := 0
	for i := range 100 {
		if d.admit(&Record{Producer: "shop", Time: begun.Add(time.Duration(i) * time.Second), Rule: fmt.Sprint(i)}) {
			alone++
		}
	}
	if alone != denialsAlone {
		t.Errorf("%d stand alone, want %d", alone, denialsAlone)
	}
	if !d.admit(&Record{Producer: "web", Time: begun}) {
		t.Error("the denials of one producer count for another")
	}
	if sums := d.over(begun.Add(59 * time.Minute)); len(sums) > 0 {
		t.Errorf("summed up too early: %+v", sums)
	}
	sums := d.over(begun.Add(time.Hour))
	if len(sums) != 1 || sums[0].Count != 40 || sums[0].Producer != "shop" || sums[0].Rule != "99" || !sums[0].Since.Equal(begun.Add(60*time.Second)) {
		t.Errorf("the sums are %+v", sums)
	}
	if !d.admit(&Record{Producer: "shop", Time: begun.Add(time.Hour)}) {
		t.Error("the next hour begins with a sum")
	}
	for i := range 3 * denialsOf {
		d.admit(&Record{Producer: fmt.Sprint("p", i), Time: begun})
	}
	if sums := d.all(); len(sums) != 1 || sums[0].Producer != "" || sums[0].Count < 2*denialsOf {
		t.Errorf("%d sums of many producers, the first %+v", len(sums), sums[0])
	}
}

// A worker that stops writes its sums before its last head.
func TestCloseSumsUp(t *testing.T) {
	t.Parallel()
	l := trailOn(t, "a", testbed.Start(t).JetStream(t))
	go l.Run(context.Background())
	for range denialsAlone + 7 {
		if err := l.Append(t.Context(), "", &Record{Decision: DecisionDenied, Producer: "shop", Rule: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := records(t, l)
	if n := len(got); n != denialsAlone+3 || got[n-2].Count != 7 || got[n-1].Head == nil || got[n-1].Head.Of != HeadStop || got[n-1].Policy != "p" {
		t.Errorf("%d records, the last are %+v, %+v", n, got[n-2], got[n-1])
	}
	if err := l.Append(t.Context(), "late", &Record{Decision: "issued"}); err == nil {
		t.Error("a closed log takes a record")
	}
}
