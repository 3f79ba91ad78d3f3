package control

import (
	"context"
	"errors"
	"testing"
	"time"
)

// wantLease acquires the lease and checks whether it was given.
func wantLease(t *testing.T, l *Lease, ttl time.Duration, want bool) {
	t.Helper()
	got, wait, err := l.Acquire(t.Context(), ttl)
	if err != nil || got != want || got == (wait > 0) || wait > ttl {
		t.Errorf("acquiring the lease: %v, to wait for %s, %v; want %v", got, wait, err, want)
	}
}

func TestLeaseIsOneWorkers(t *testing.T) {
	t.Parallel()
	server, kv := newBus(t)
	a, b := worker(server.JetStream(t), "a").WatchdogLease(), worker(server.JetStream(t), "b").WatchdogLease()
	wantLease(t, a, time.Hour, true)
	wantLease(t, b, time.Hour, false)
	wantLease(t, a, time.Hour, true)
	must(t, b.Release(t.Context()))
	wantLease(t, b, time.Hour, false) // the lease of another worker stays
	if err := b.Renew(t.Context(), time.Hour); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("renewing another worker's lease: %v", err)
	}
	must(t, a.Renew(t.Context(), time.Hour))
	must(t, a.Release(t.Context()))
	wantLease(t, b, time.Nanosecond, true)
	time.Sleep(time.Millisecond)
	if err := a.Renew(t.Context(), time.Hour); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("renewing after another worker had it: %v", err)
	}
	eventually(t, "the end of b's", func() bool {
		got, _, err := a.Acquire(t.Context(), time.Hour)
		return got && err == nil
	})
	put(t, kv, a.key, "2061-01-01T00:00:00Z")
	wantLease(t, b, time.Hour, true) // no worker wrote that value
	must(t, kv.Purge(t.Context(), a.key))
	wantLease(t, a, time.Hour, true)
}

func TestLeaseOfAnotherWorkerIsCapped(t *testing.T) {
	t.Parallel()
	l := new(Bucket).WatchdogLease()
	for _, tc := range []struct {
		name, value string
		age, want   time.Duration
	}{
		{"just stored", `{"worker":"o","ttl":"5m"}`, 0, 5 * time.Minute},
		{"half over", `{"worker":"o","ttl":"5m"}`, 2 * time.Minute, 3 * time.Minute},
		{"over", `{"worker":"o","ttl":"5m"}`, time.Hour, 0},
		{"released", `{"worker":"o","ttl":"0s"}`, 0, 0},
		{"without end", `{"worker":"o","ttl":"999999h"}`, 0, MaxLease},
		{"rubbish", `rubbish`, 0, 0},
	} {
		if _, got := l.left(entry{data: []byte(tc.value), age: tc.age}); got != tc.want {
			t.Errorf("%s: %s left, want %s", tc.name, got, tc.want)
		}
	}
}

// Keep ends when another worker acquired the lease, and when the lease cannot be renewed
// in time.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, b *Bucket){
		"acquired": func(t *testing.T, b *Bucket) {
			kv, err := b.js.KeyValue(t.Context(), bucket)
			must(t, err)
			put(t, kv, b.WatchdogLease().key, `{"worker":"other","ttl":"1h"}`)
		},
		"no answer": func(_ *testing.T, b *Bucket) { b.js.Conn().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _ := newBus(t)
			b := worker(server.JetStream(t), "a")
			wantLease(t, b.WatchdogLease(), time.Hour, true)
			scan, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			lose(t, b)
			b.WatchdogLease().Keep(scan, 50*time.Millisecond, stop) // returns, or the test never ends
			if err := context.Cause(scan); !errors.Is(err, ErrLeaseLost) {
				t.Errorf("the scan was ended by %v", err)
			}
		})
	}
}

// With renewals the lease outlasts any number of its own lengths.
func TestLeaseIsKept(t *testing.T) {
	t.Parallel()
	server, kv := newBus(t)
	l := worker(server.JetStream(t), "a").WatchdogLease()
	wantLease(t, l, time.Hour, true)
	first, err := kv.Get(t.Context(), l.key)
	must(t, err)
	scan, stop := context.WithCancelCause(t.Context())
	kept := make(chan struct{})
	go func() { defer close(kept); l.Keep(scan, 200*time.Millisecond, stop) }()
	eventually(t, "renewals", func() bool {
		now, err := kv.Get(t.Context(), l.key)
		must(t, err)
		return now.Revision() > first.Revision()+2
	})
	stop(nil)
	<-kept
	if err := context.Cause(scan); !errors.Is(err, context.Canceled) {
		t.Errorf("the scan was ended by %v", err)
	}
}
