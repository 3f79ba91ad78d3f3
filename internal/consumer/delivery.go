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

// message is one message that a pull brought. Its answers are sent once each, and
// by settle only.
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

// DoubleAck acknowledges and waits until the server took it.
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
	published  time.Time // when the stream took it
	// heldUntil is when the server may give the message to another worker, in
	// Unix nanoseconds. Only an extension that the server took moves it.
	heldUntil atomic.Int64
	begun     time.Time

	mu       sync.Mutex
	what, of string // it waits for: what of which, as "step" of "result"
	// reported says that a line about its time in flight was logged. Only the heartbeat
	// touches it.
	reported bool
}

// doing notes what the message waits for from now on.
func (d *delivery) doing(what, of string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.what, d.of = what, of
}

// waitsFor is what the message waits for.
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
	d.heldUntil.Store(time.Now().Add(ackWait).UnixNano())
	return d, nil
}

// identity tells the messages of one consumer apart. The sequence alone does not: a
// stream that was made again, or that lost its last messages, gives sequences a second time.
type identity struct {
	sequence  uint64
	published time.Time
}

func (d *delivery) identity() identity { return identity{d.sequence, d.published} }
