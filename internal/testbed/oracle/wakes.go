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

// Wake is one due message of a parked order as the server stored it.
type Wake struct {
	Due    time.Time // when the schedule was to fire
	Stored time.Time // when the server stored the due message
}

func (w Wake) String() string {
	return fmt.Sprintf("%s (due %s)", w.Stored.Format(time.StampMilli), w.Due.Format(time.StampMilli))
}

// WakeLog records every due message. The server republishes each due message as it stores
// it. The log misses due messages that are stored while it is not connected. It is safe
// for concurrent use.
type WakeLog struct {
	nc       *nats.Conn
	subjects entrustbus.Subjects
	sub      *nats.Subscription

	mu    sync.Mutex
	wakes map[string][]Wake // by <producer>.<id>
}

// LogWakes makes the server republish every due message of the layout, and records them
// until Close.
func LogWakes(ctx context.Context, js jetstream.JetStream, l streams.Layout) (*WakeLog, error) {
	w := &WakeLog{nc: js.Conn(), subjects: l.Subjects(), wakes: map[string][]Wake{}}
	sub, err := w.nc.Subscribe("wakes."+l.Prefix+".>", w.note)
	if err != nil {
		return nil, err
	}
	// A slow log must not drop messages.
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

// Wakes returns all due messages so far, by <producer>.<id>.
func (w *WakeLog) Wakes() map[string][]Wake {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.wakes)
}

// sawAll reports whether the log was always connected.
func (w *WakeLog) sawAll() bool { return w.nc.Stats().Reconnects == 0 }

// Close ends the log.
func (w *WakeLog) Close() {
	_ = w.sub.Unsubscribe() // fails only on a closed connection
}
