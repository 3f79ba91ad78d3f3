package integration

// Hostile messages against a worker that works: none of them ends it, leaks out
// of it, or stands in the way of a good request, and each is answered as the
// contract says: one dead letter that keeps the message, and a failed result
// where one can be addressed.

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
	"github.com/entrust-worker/entrust-worker/internal/natstest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Most of the corpus has to get past the server, or it would test nothing of
// the worker's.
func TestHostileCorpusReachesWorker(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	taken := 0
	for _, m := range entrustbustest.Hostile() {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Body}); err == nil {
			taken++
		}
	}
	if taken < 200 {
		t.Errorf("the server took %d hostile messages, want 200 at least", taken)
	}
}
