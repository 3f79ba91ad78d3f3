package mtlscache_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// TestUseHTTP1 checks that later connections use HTTP/1.1, whatever the server prefers, also
// after a rotation, and that no earlier connection stays open.
func TestUseHTTP1(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	spoken := 0
	r := setup(t, true, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		spoken = req.ProtoMajor
	}), nil)
	want := func(when string, major int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if spoken != major {
			t.Errorf("%s: HTTP/%d is spoken, want HTTP/%d", when, spoken, major)
		}
	}
	r.mustCall(t, r.first)
	want("at first", 2)
	r.cache.UseHTTP1()
	r.cache.UseHTTP1()
	r.mustCall(t, r.first)
	want("when told", 1)
	eventually(t, "one connection is open", func() bool { return r.gateway.open.Load() == 1 })
	next := r.ca.client(t)
	r.replace(t, r.key, next.keyPEM, time.Time{})
	r.replace(t, r.cert, next.certPEM, time.Time{})
	r.mustCall(t, next)
	want("after a rotation", 1)
	if got := r.cache.Reloads(); got != 1 {
		t.Errorf("%d reloads, want that of the rotation", got)
	}
}

// TestLimitIdle checks that an idle connection is closed after the lower limit.
func TestLimitIdle(t *testing.T) {
	t.Parallel()
	r := setup(t, false, nil, func(cfg *mtlscache.Config) { cfg.IdleConnTimeout = time.Hour })
	r.mustCall(t, r.first)
	r.cache.LimitIdle(2 * time.Hour) // changes nothing
	r.cache.LimitIdle(0)             // neither does this
	r.mustCall(t, r.first)
	if made := r.gateway.made.Load(); made != 1 {
		t.Errorf("%d connections were made, want 1", made)
	}
	r.cache.LimitIdle(10 * time.Millisecond)
	r.mustCall(t, r.first)
	eventually(t, "the idle connections are closed", func() bool { return r.gateway.open.Load() == 0 })
}
