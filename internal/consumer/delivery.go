package consumer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// ackTimeout bounds one exchange with the server about a message in flight.
const ackTimeout = 5 * time.Second

// message is one pulled message. Only settle.go answers it, once.
type message struct {
	nc *nats.Conn
	m  *nats.Msg
}

func (m message) Subject() string      { return m.m.Subject }
func (m message) Headers() nats.Header { return m.m.Header }
func (m message) Data() []byte         { return m.m.Data }
func (m message) Reply() string        { return m.m.Reply }

func (m message) Ack() error { return m.nc.Publish(m.m.Reply, []byte("+ACK")) }
func (m message) Nak() error { return m.nc.Publish(m.m.Reply, []byte("-NAK")) }

func (m message) NakWithDelay(wait time.Duration) error {
	return m.nc.Publish(m.m.Reply, fmt.Appendf(nil, `-NAK {"delay": %d}`, wait.Nanoseconds()))
}

// DoubleAck acknowledges and waits for the server's confirmation.
func (m message) DoubleAck(ctx context.Context) error {
	_, err := m.nc.RequestWithContext(ctx, m.m.Reply, []byte("+ACK"))
	return err
}

// delivery is one message in flight.
type delivery struct {
	lane       *lane
	msg        message
	deliveries uint64    // this one included
	sequence   uint64    // in its stream
	stream     string    // name
	published  time.Time // when the stream stored it
	// ackDeadline is when the server may redeliver the message to another worker, in Unix
	// nanoseconds. Only an extension that the server confirmed moves it.
	ackDeadline atomic.Int64
	begun       time.Time

	mu       sync.Mutex
	what, of string // what the message waits for, for example "step" and "result"
	// reported says that the time in flight was logged. Only the heartbeat uses it.
	reported bool
}

// doing notes what the message waits for from now on.
func (d *delivery) doing(what, of string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.what, d.of = what, of
}

// waitsFor returns what the message waits for.
func (d *delivery) waitsFor() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.TrimSpace(d.what + " " + d.of)
}

func newDelivery(l *lane, nc *nats.Conn, msg *nats.Msg, ackWait time.Duration) (*delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of a message on %s: %w", msg.Subject, err)
	}
	d := &delivery{
		lane:       l,
		msg:        message{nc, msg},
		deliveries: meta.NumDelivered,
		sequence:   meta.Sequence.Stream,
		stream:     meta.Stream,
		published:  meta.Timestamp.UTC(),
		begun:      time.Now(),
	}
	d.ackDeadline.Store(time.Now().Add(ackWait).UnixNano())
	return d, nil
}

// identity identifies a message of one consumer. The sequence alone does not: a stream that was
// made again, or lost its last messages, assigns sequences a second time.
type identity struct {
	sequence  uint64
	published time.Time
}

func (d *delivery) identity() identity { return identity{d.sequence, d.published} }
