package consumer

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// ackTimeout bounds one exchange with the server about a message in flight.
const ackTimeout = 5 * time.Second

// delivery is one message in flight.
type delivery struct {
	msg        message
	deliveries uint64    // this one included
	sequence   uint64    // in its stream
	stream     string    // name
	published  time.Time // when the stream took it
	// heldUntil is when the server may give the message to another worker, in
	// Unix nanoseconds. Only an extension that the server took moves it.
	heldUntil atomic.Int64
}

func newDelivery(nc *nats.Conn, msg *nats.Msg, ackWait time.Duration) (*delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of a message on %s: %w", msg.Subject, err)
	}
	d := &delivery{
		msg:        message{nc, msg},
		deliveries: meta.NumDelivered,
		sequence:   meta.Sequence.Stream,
		stream:     meta.Stream,
		published:  meta.Timestamp.UTC(),
	}
	d.heldUntil.Store(time.Now().Add(ackWait).UnixNano())
	return d, nil
}

// identity tells the messages of one consumer apart. The sequence alone does not: a
// stream that was made again, or that lost its last messages, counts anew.
type identity struct {
	sequence  uint64
	published time.Time
}

func (d *delivery) identity() identity { return identity{d.sequence, d.published} }
