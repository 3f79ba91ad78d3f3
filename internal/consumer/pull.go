package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

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

// pull asks a consumer for up to n messages and hands each to take. It returns
// when they have come, when the consumer has no more, or when the server says
// that something is wrong.
//
// When stop is done it ends the pull at the server, and hands on what had come by then: a
// message that is handed back while a pull stands comes to it again, at once, as often as
// the pull has room.
//
// It does what jetstream.Consumer.Fetch does, but for one thing: to Fetch a
// message without a body whose publisher sent a header Status is the server's
// word. It would never be handled, and each time it came, end the pull that it
// came with. Here the reply subject tells: the server puts one on every message
// that is to be acknowledged, and none on its own word.
func (w *Worker) pull(stop context.Context, l *lane, n int, take func(*nats.Msg) error) error {
	request, err := json.Marshal(struct {
		Batch   int           `json:"batch"`
		Expires time.Duration `json:"expires"`
	}{n, fetchWait})
	if err != nil {
		return fmt.Errorf("encoding a pull: %w", err)
	}
	inbox := w.nc.NewInbox()
	come := make(chan *nats.Msg, n+1) // and the server's word
	sub, err := w.nc.ChanSubscribe(inbox, come)
	if err != nil {
		return fmt.Errorf("pulling: %w", err)
	}
	if err := w.nc.PublishRequest(streams.APISubject(w.js, "CONSUMER.MSG.NEXT."+l.stream+"."+l.consumer), inbox, request); err != nil {
		return errors.Join(fmt.Errorf("pulling: %w", err), sub.Unsubscribe())
	}
	// A server that is gone does not say that the time is over.
	over := time.NewTimer(fetchWait + time.Second)
	defer over.Stop()
	err = receive(stop, come, over.C, n, take)
	// The server takes the end of the interest in before what is handed back, so that none of
	// it comes here again. Nothing is left to be done about an error of the end. What has come
	// by then, as to a process that stood still, would rest until its ack wait is over.
	_ = sub.Unsubscribe()
	return errors.Join(err, rest(come, take))
}

// receive takes n messages, or fewer where the pull ends before, or ctx is done.
func receive(ctx context.Context, come <-chan *nats.Msg, over <-chan time.Time, n int, take func(*nats.Msg) error) error {
	for range n {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			return nil
		case msg := <-come:
			if msg.Reply == "" {
				return said(msg.Header)
			}
			if err := take(msg); err != nil {
				return err
			}
		}
	}
	return nil
}

// rest takes what has come, and waits for nothing.
func rest(come <-chan *nats.Msg, take func(*nats.Msg) error) error {
	var all error
	for {
		select {
		case msg := <-come:
			if msg.Reply != "" {
				all = errors.Join(all, take(msg))
			}
		default:
			return all
		}
	}
}

// said turns the server's word about a pull into an error, nil where it only
// ends it.
func said(header nats.Header) error {
	status, why := header.Get("Status"), header.Get("Description")
	lower := strings.ToLower(why)
	switch {
	case status == "404", status == "408", strings.Contains(lower, "batch completed"):
		return nil
	case status == "503":
		return fmt.Errorf("pulling: %w", nats.ErrNoResponders)
	case strings.Contains(lower, "consumer deleted"):
		return fmt.Errorf("pulling: %w", jetstream.ErrConsumerDeleted)
	case strings.Contains(lower, "leadership change"):
		return fmt.Errorf("pulling: %w", jetstream.ErrConsumerLeadershipChanged)
	case strings.Contains(lower, "server shutdown"):
		return fmt.Errorf("pulling: %w", jetstream.ErrServerShutdown)
	}
	return fmt.Errorf("pulling: %w", errors.New(status+" "+why))
}
