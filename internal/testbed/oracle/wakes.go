package oracle

import (
	"context"
	"fmt"
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
	Due    time.Time // what the schedule asked for
	Stored time.Time // when the server stored the due message
}

func (w Wake) String() string {
	return fmt.Sprintf("%s (due %s)", w.Stored.Format(time.StampMilli), w.Due.Format(time.StampMilli))
}

// WakeLog notes every wake-up. The server publishes each once more as it stores it;
// one that it stores while the log is not connected is missed. It is safe for
// concurrent use.
type WakeLog struct {
	nc       *nats.Conn
	subjects entrustbus.Subjects
	sub      *nats.Subscription

	mu    sync.Mutex
	wakes map[string][]Wake // by <producer>.<id>
}

// LogWakes has the server publish every wake-up of the layout once more, and notes them
// until Close.
func LogWakes(ctx context.Context, js jetstream.JetStream, l streams.Layout) (*WakeLog, error) {
	w := &WakeLog{nc: js.Conn(), subjects: l.Subjects(), wakes: map[string][]Wake{}}
	sub, err := w.nc.Subscribe("wakes."+l.Prefix+".>", w.note)
	if err != nil {
		return nil, err
	}
	// A log that is slow must not forget.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	w.sub = sub
	st, err := js.Stream(ctx, l.Parked)
	if err != nil {
		return nil, err
	}
	cfg := st.CachedInfo().Config
	cfg.RePublish = &jetstream.RePublish{Source: w.subjects.DueFilter("*"), Destination: "wakes." + l.Prefix + ".{{wildcard(2)}}.{{wildcard(3)}}"}
	_, err = js.UpdateStream(ctx, cfg)
	return w, err
}

func (w *WakeLog) note(msg *nats.Msg) {
	_, producer, id, err := w.subjects.ParseDue(msg.Header.Get(jetstream.SubjectHeader))
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

// Wakes returns all wake-ups so far, by <producer>.<id>.
func (w *WakeLog) Wakes() map[string][]Wake {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.wakes)
}

// sawAll reports whether the log was connected all the time.
func (w *WakeLog) sawAll() bool { return w.nc.Stats().Reconnects == 0 }

// Close ends the log.
func (w *WakeLog) Close() {
	_ = w.sub.Unsubscribe() // fails only on a closed connection
}
