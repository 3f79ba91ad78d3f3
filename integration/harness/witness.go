package harness

import (
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Wake is one wake-up of a parked order as the server stored it.
type Wake struct {
	Due    time.Time // what the slot asked for
	Stored time.Time // when the server stored the due message
}

// Witness notes every wake-up. The server publishes each once more as it stores it;
// one that it stores while the witness is not connected is missed.
type Witness struct {
	nc       *nats.Conn
	subjects entrustbus.Subjects
	sub      *nats.Subscription

	mu    sync.Mutex
	wakes map[string][]Wake // by <producer>.<id>
}

func newWitness(nc *nats.Conn, l streams.Layout) (*Witness, error) {
	w := &Witness{nc: nc, subjects: l.Subjects(), wakes: map[string][]Wake{}}
	sub, err := nc.Subscribe("witness."+l.Prefix+".>", w.note)
	if err != nil {
		return nil, err
	}
	// Nobody slows the witness down so much that it may forget.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	w.sub = sub
	return w, nil
}

// destination is where the server has to publish wake-ups to.
func (w *Witness) destination() string {
	return "witness." + w.subjects.Prefix + ".{{wildcard(1)}}.{{wildcard(2)}}"
}

func (w *Witness) note(msg *nats.Msg) {
	producer, id, err := w.subjects.ParseOrder(msg.Header.Get(jetstream.SubjectHeader))
	if err != nil {
		return
	}
	due, err1 := time.Parse(time.RFC3339Nano, msg.Header.Get(entrustbus.HeaderDue))
	stored, err2 := time.Parse(time.RFC3339Nano, msg.Header.Get(jetstream.TimeStampHeaer))
	if err1 != nil || err2 != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := producer + "." + id
	w.wakes[key] = append(w.wakes[key], Wake{Due: due, Stored: stored})
}

// Wakes are all wake-ups so far, by <producer>.<id>.
func (w *Witness) Wakes() map[string][]Wake {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.wakes)
}

// sawAll reports whether the witness was connected all the time.
func (w *Witness) sawAll() bool { return w.nc.Stats().Reconnects == 0 }

func (w *Witness) close() {
	_ = w.sub.Unsubscribe() // fails only on a closed connection
}
