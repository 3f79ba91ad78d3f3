package consumer

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// What was due before the connection was made, or made again, may have been delivered
// before; what is due well after that was not.
func TestLinkSince(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t)
	nc := server.Conn(t)
	before := time.Now().Add(-time.Second) // a test that is held up between two readings of the clock reads it late
	l := newConnectionAge(nc)
	soon := time.Now().Add(skew + time.Millisecond)
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} { // the server's clock
		since := func(t time.Time) bool { return l.since(t.Add(ahead), time.Now().Add(ahead)) }
		if since(before) || since(before.Add(skew)) || !since(soon) {
			t.Errorf("a new connection has not stood since it was made, or the server's clock %s ahead decides", ahead)
		}
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); nc.Stats().Reconnects == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection is not made again")
		}
	}
	if l.since(soon, time.Now()) || !l.since(time.Now().Add(skew+time.Second), time.Now()) {
		t.Error("a connection that was made again has not stood since then")
	}
}
