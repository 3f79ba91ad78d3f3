package gatewaytest_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// TestFractions enrolls the same names twice with other keys. Each name must end the same way.
func TestFractions(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) map[string]string {
		e := setup(t, gatewaytest.Config{Seed: seed, PendingFraction: 0.3, RejectFraction: 0.2, SkipProof: true})
		fate := map[string]string{}
		for i := range 100 {
			name := fmt.Sprintf("order%d.example.net", i)
			r, err := e.ask("POST", e.ca("/enrollments"), map[string]any{"csr": armour(csrOf(t, name))})
			if err != nil {
				t.Fatal(err)
			}
			fate[name] = decode[flat](t, r).Status
		}
		return fate
	}
	first := run(1)
	if !maps.Equal(first, run(1)) {
		t.Error("two runs with one seed differ")
	}
	if maps.Equal(first, run(2)) {
		t.Error("two seeds agree on every order")
	}
	count := map[string]int{}
	for _, status := range first {
		count[status]++
	}
	// Of a hundred: 30 pending, and of the other 70 a fifth rejected.
	if n := count["AWAITING_APPROVAL"]; n < 15 || n > 45 {
		t.Errorf("got %d pending of 100, want about 30", n)
	}
	if n := count["REJECTED"]; n < 4 || n > 28 {
		t.Errorf("got %d rejected of 100, want about 14", n)
	}
}

// TestManyAtOnce enrolls, polls, decides and reports from many goroutines at once.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{
		Dir: t.TempDir(), Persist: true, SkipProof: true, RecordPolls: true,
		PendingFraction: 0.5, ApproveAfter: time.Millisecond,
	})
	const workers, each = 8, 25
	csrs := make([][]byte, workers)
	for i := range csrs {
		csrs[i] = csrOf(t, fmt.Sprintf("w%d.example.net", i)) // all orders of a goroutine have one key
	}
	var wg sync.WaitGroup
	for _, csr := range csrs {
		wg.Go(func() {
			for range each {
				r, err := e.ask("POST", e.ca("/enrollments"), map[string]any{"csr": armour(csr)})
				if err != nil {
					t.Error(err)
					return
				}
				id := decode[flat](t, r).TrackingID
				for {
					r, err := e.ask("GET", e.ca("/enrollments/"+id), nil)
					if err != nil {
						t.Error(err)
						return
					}
					if decode[flat](t, r).Status == "ISSUED" {
						break
					}
				}
			}
		})
	}
	stop := make(chan struct{})
	var reports sync.WaitGroup
	reports.Go(func() {
		now := time.NewTicker(5 * time.Millisecond)
		defer now.Stop()
		for {
			select {
			case <-stop:
				return
			case <-now.C:
			}
			e.gw.Stats()
			e.gw.Enrollments()
			e.gw.Revocations()
			for range e.gw.Polls() {
			}
			if _, err := e.gw.ApproveAll(0); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	close(stop)
	reports.Wait()
	for _, csr := range csrs {
		if got, ok := e.gw.Enrollment(keyHash(t, csr)); !ok || got.Count != each || len(slices.Compact(slices.Sorted(slices.Values(got.Serials)))) != each {
			t.Errorf("got %+v, want %d orders with a serial each", got, each)
		}
	}
	want := gatewaytest.Stats{Enrolled: workers * each, Issued: workers * each, Active: workers * each, Duplicates: workers * (each - 1)}
	if st := e.gw.Stats(); st.Enrolled != want.Enrolled || st.Issued != want.Issued || st.Active != want.Active ||
		st.Duplicates != want.Duplicates || st.Pending != 0 {
		t.Errorf("got %+v, want %+v", st, want)
	}
}

// TestApproveAllSpreads approves over an hour and checks every ten minutes.
func TestApproveAllSpreads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := setup(t, gatewaytest.Config{InMemory: true, Dialect: gatewaytest.CAGW, PendingFraction: 1, SkipProof: true})
		const n = 60
		for i := range n {
			e.enrollNested(request(csrOf(t, fmt.Sprintf("order%d.example.net", i))), 201)
		}
		if got, err := e.gw.ApproveAll(time.Hour); err != nil || got != n {
			t.Fatalf("approved %d, %v, want %d", got, err, n)
		}
		last := 0
		for range 6 {
			time.Sleep(10 * time.Minute)
			e.events("startDate=2000-01-01T00:00:00Z") // a listing ends the due orders
			got := e.gw.Stats().Issued
			if got <= last {
				t.Errorf("got %d issued after ten more minutes, want more than %d", got, last)
			}
			last = got
		}
		if last != n {
			t.Errorf("got %d issued after the hour, want %d", last, n)
		}
	})
}

// TestQuotaEnds waits until the gateway accepts requests again.
func TestQuotaEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := setup(t, gatewaytest.Config{InMemory: true, Quota: 2})
		for range 2 {
			e.must("GET", e.ca(""), nil, 200)
		}
		e.must("GET", e.ca(""), nil, 429)
		time.Sleep(15 * time.Second) // a new window, but the gateway still answers 429
		e.must("GET", e.ca(""), nil, 429)
		time.Sleep(5 * time.Second)
		e.must("GET", e.ca(""), nil, 200)
	})
}

// TestEventDelay reads the events before and after an event appears.
func TestEventDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := setup(t, gatewaytest.Config{InMemory: true, Dialect: gatewaytest.CAGW, EventDelay: time.Minute})
		e.enrollNested(request(csrOf(t, "a.example.net")), 200)
		time.Sleep(59 * time.Second)
		if got, _, _ := e.events("startDate=1999-01-01T00:00:00Z"); len(got) != 0 {
			t.Errorf("got %d events too early", len(got))
		}
		time.Sleep(time.Second)
		if got, _, _ := e.events("startDate=1999-01-01T00:00:00Z"); len(got) != 1 {
			t.Errorf("got %d events, want 1", len(got))
		}
	})
}
