package consumer

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// A message that was due before the last connect may have been delivered before. A message that
// is due well after it was not.
func TestLinkSince(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t)
	nc := server.Conn(t)
	before := time.Now().Add(-time.Second) // the test may be delayed between two readings of the clock
	age := newConnectionAge(nc)
	soon := time.Now().Add(skew + time.Millisecond)
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} { // the server's clock
		since := func(t time.Time) bool { return age.since(t.Add(ahead), time.Now().Add(ahead)) }
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
	if age.since(soon, time.Now()) || !age.since(time.Now().Add(skew+time.Second), time.Now()) {
		t.Error("a connection that was made again has not stood since then")
	}
}
