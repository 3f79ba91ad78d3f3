package entrustbus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Lookup returns the last published result of a request: that of the newest replay generation. Errors: ErrNoResult,
// ErrNoStream, a *FieldError for a result that cannot be read, or an error of NATS. The server that answers first
// may be a follower, which misses a result until it is replicated.
func (c *Client) Lookup(ctx context.Context, id string) (*Result, error) {
	if !ValidToken(id) {
		return nil, errToken("id")
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	stream, err := c.resultStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking up %q: %w", id, err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, c.cfg.Subjects.Result(c.cfg.Producer, id))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("looking up %q: %w", id, ErrNoResult)
	case err != nil:
		return nil, fmt.Errorf("looking up %q: %w", id, c.streamError(err))
	}
	return decodeResultMsg(msg.Header, msg.Data, msg.Sequence)
}

func decodeResultMsg(header nats.Header, body []byte, sequence uint64) (*Result, error) {
	enc, err := EncodingOf(header.Get(HeaderContentType), body)
	if err != nil {
		return nil, err
	}
	r, err := DecodeResult(enc, body)
	if err != nil {
		return nil, err
	}
	r.Sequence = sequence
	return r, nil
}

// resultStream opens the stream once: its name does not change, and every look-up would cost another request. No lock is
// held meanwhile, so each caller waits as long as its own context says; one that is opened twice does no harm.
func (c *Client) resultStream(ctx context.Context) (jetstream.Stream, error) {
	if stream := c.results.Load(); stream != nil {
		return *stream, nil
	}
	stream, err := c.js.Stream(ctx, c.cfg.ResultStream)
	if err != nil {
		return nil, c.streamError(err)
	}
	c.results.Store(&stream)
	return stream, nil
}

func (c *Client) streamError(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) || errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w: there is no stream %s, or its servers do not answer; try again, run `entrust-worker provision`, "+
			"or check the name and that the account has JetStream: %w", ErrNoStream, c.cfg.ResultStream, err)
	}
	return err
}

// How often Wait looks again: soon after the first look and after an announcement, then ever more rarely. A result is
// announced by its own publication, but what a server was about to store when Wait began is neither found by the first
// look nor announced after it, and a follower may answer before it has the result.
const (
	lookAgainSoon  = 10 * time.Millisecond
	lookAgainIdle  = 30 * time.Second
	lookAgainTimes = 4
)

// lookAtConnection is how often Wait compares the number of reconnects: an announcement may have been missed before each.
const lookAtConnection = time.Second

// lookWithin bounds one look-up of Wait.
const lookWithin = 5 * time.Second

// Wait returns the result of a request, as Lookup does: at once if there is one, otherwise as soon as it is published. The
// request may be submitted later, or by another client. Waiting costs one subscription and a look-up, seven more look-ups in
// the first minute and then one every 30 s. Wait survives reconnects and outages of servers.
// Errors: ErrNoStream, a *FieldError for a result that cannot be read, nats.ErrConnectionClosed, and the context's cause.
func (c *Client) Wait(ctx context.Context, id string) (*Result, error) {
	if !ValidToken(id) {
		return nil, errToken("id")
	}
	announced := make(chan struct{}, 1)
	// Before the first look: what is published after it is announced, what was stored before it is found.
	sub, err := c.nc.Subscribe(c.cfg.Subjects.Result(c.cfg.Producer, id), func(*nats.Msg) {
		select {
		case announced <- struct{}{}:
		default: // one is enough
		}
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for %q: %w", id, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	// A listener for the connection's status would outlive this call in nats.go before 1.42.
	connection := time.NewTicker(lookAtConnection)
	defer connection.Stop()
	connects := c.connects()

	served := false // whether the stream has answered before: then its silence is an outage, not a mistake
	again := lookAgainSoon
	for {
		// The announcement itself is not the result: the stream may refuse it, or drop it as a duplicate.
		// A server that crashes during the look-up never answers it.
		look, cancel := context.WithTimeout(ctx, lookWithin)
		r, err := c.Lookup(look, id)
		cancel()
		var unreadable *FieldError
		switch {
		case err == nil:
			return r, nil
		case errors.Is(err, ErrNoResult):
			served = true
		case ctx.Err() != nil:
		case errors.As(err, &unreadable), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, ErrNoStream) && !served:
			return nil, err
		default:
			again = min(again, time.Second)
		}
		timer := time.NewTimer(again)
		for waiting := true; waiting; {
			waiting = false
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil, fmt.Errorf("waiting for %q: %w", id, context.Cause(ctx))
			case <-announced:
				again = lookAgainSoon
			case <-connection.C:
				now := c.connects()
				if waiting = now == connects; !waiting {
					connects, again = now, lookAgainSoon
				}
			case <-timer.C:
				again = min(lookAgainTimes*again, lookAgainIdle)
			}
		}
		timer.Stop()
	}
}

// connects is a number that changes when the connection was made again, and when it is closed for good.
func (c *Client) connects() uint64 {
	if c.nc.IsClosed() {
		return math.MaxUint64
	}
	return c.nc.Stats().Reconnects
}
