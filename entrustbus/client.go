package entrustbus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors that a Client's methods wrap, for errors.Is.
var (
	// ErrNoStream: no stream stores or serves this, and nothing was stored. One cause passes by itself: the stream's
	// leader, or every server that has it, does not answer; try again. Other causes: the streams are not provisioned, the
	// prefix or a name is not the worker's, or the account has no JetStream. A client cannot tell these apart.
	ErrNoStream = errors.New("no such stream")
	// ErrStreamFull: the request stream has reached its limits and stored nothing. Try again when the workers caught up.
	ErrStreamFull = errors.New("the request stream is full")
	// ErrOtherContent: the id belongs to another request of the producer, with other content or of another kind. The result
	// of that request stands. Submit this request under a new id.
	ErrOtherContent = errors.New("the id belongs to another request")
	// ErrNoOrder: the ledger has no record of the order. No worker has begun its request, or the ledger no longer keeps it.
	ErrNoOrder = errors.New("no such order")
	// ErrNoResult: there is no result yet, or NATS no longer keeps it.
	ErrNoResult = errors.New("no result")
	// ErrNewStream: the stream of results ends before the sequence to go on from, so it is not the stream of that
	// sequence. An operator created it again or restored it, or a server lost its last writes. Begin again at 0. The client
	// cannot detect this once the new stream has as many results.
	ErrNewStream = errors.New("the stream of results is a new one")
)

// Default names of the stream of results and of the ledger.
const (
	DefaultResultStream = "ENTRUST_RESULTS"
	DefaultLedgerBucket = "ENTRUST_ORDERS"
)

// ClientConfig configures a Client. Only Producer is required.
type ClientConfig struct {
	// Producer is the name under which requests are made: [A-Za-z0-9_-]{1,64}. NATS permissions decide who may use it.
	Producer string
	// Encoding of requests, and so of their results. Zero: MessagePack.
	Encoding Encoding
	// Subjects holds the prefix. Zero: DefaultPrefix.
	Subjects Subjects
	// ResultStream is the stream of results. Empty: DefaultResultStream.
	ResultStream string
	// LedgerBucket is the key-value bucket that Watch and Submit read. Empty: DefaultLedgerBucket.
	LedgerBucket string
	// JetStream, if set, is used instead of the connection's own: for a JetStream domain, an API prefix or another default
	// timeout. It must belong to the connection of the Client.
	JetStream jetstream.JetStream
	// Trace, if set, returns the W3C trace headers of a request; an empty header is not sent. The result carries the same
	// headers.
	Trace func(context.Context) (traceparent, tracestate string)
	// Sign, if set, signs each request with the time of its submission.
	Sign *SigningKey
	// Operator publishes requests on Subjects.Operator, in the name of the producer. NATS permissions allow that to
	// operators. These requests are not signed: the subject authorises them.
	Operator bool
}

// Client publishes the requests of one producer and reads their results. Make it with New. It is safe for
// concurrent use, each request by one call at a time. It holds nothing that must be closed: the caller owns the
// connection.
//
// A context without a deadline bounds Submit and Lookup by JetStream's default timeout (5 s unless configured), and
// Wait, Results, ResultsAfter and Watch by nothing.
type Client struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	cfg ClientConfig

	results atomic.Pointer[jetstream.Stream]   // opened by the first look-up
	ledger  atomic.Pointer[jetstream.KeyValue] // opened by the first submission

	// hidden is set once the server refuses to show the ledger to this connection: asking again would only cost time.
	hidden atomic.Bool
}

// New makes a client for one producer. It does not talk to the server; a name that cannot be one is a *FieldError.
func New(nc *nats.Conn, cfg ClientConfig) (*Client, error) {
	if !ValidToken(cfg.Producer) {
		return nil, errToken("producer")
	}
	if err := cfg.Subjects.Validate(); err != nil {
		return nil, err
	}
	if cfg.Sign != nil {
		if err := cfg.Sign.Validate(); err != nil {
			return nil, err
		}
	}
	if cfg.ResultStream == "" {
		cfg.ResultStream = DefaultResultStream
	}
	if cfg.LedgerBucket == "" {
		cfg.LedgerBucket = DefaultLedgerBucket
	}
	js := cfg.JetStream
	if js == nil {
		var err error
		if js, err = jetstream.New(nc); err != nil {
			return nil, fmt.Errorf("opening JetStream: %w", err)
		}
	}
	return &Client{nc: nc, js: js, cfg: cfg}, nil
}

// bounded gives a context without a deadline JetStream's default timeout, for all that one call does.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.js.Options().DefaultTimeout)
}

// Receipt confirms that the server stored a request.
type Receipt struct {
	// Stream and Sequence say where this request is stored, for a duplicate too.
	Stream   string
	Sequence uint64
	// Duplicate is true when the ledger had an order of this id with the same content before this request was stored. Such
	// a request changes nothing. False proves nothing: a request that no worker has begun has no record, and the ledger may
	// not answer. The worker detects a duplicate in any case.
	Duplicate bool
}

// Submit validates a request, publishes it and waits until the server has stored it. Errors: a *FieldError for a request
// that the contract forbids, ErrNoStream, ErrStreamFull, ErrOtherContent, or an error of NATS. After any error
// but these four the request may be stored all the same; submitting it again under the same id is always safe.
//
// Submit waits for a stream without a leader, within the context and at most 10 s; then the error is ErrNoStream.
//
// Submit looks for the id in the ledger first. If it finds an order of other content or of another kind, it returns
// ErrOtherContent and publishes nothing. If the ledger does not answer within 2 s, or has no record yet because no worker has
// begun the first request, the worker detects the reuse: it does not carry out the second request, which becomes a dead
// letter and a Refusal on Subjects.Refused.
func (c *Client) Submit(ctx context.Context, r Request) (Receipt, error) {
	if err := r.Validate(); err != nil {
		return Receipt{}, err
	}
	msg, err := c.message(ctx, r)
	if err != nil {
		return Receipt{}, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	same, known := c.recorded(ctx, r, msg.Data)
	if known && !same {
		return Receipt{}, fmt.Errorf("submitting %q: %w", r.OrderID(), ErrOtherContent)
	}
	ack, err := c.publish(ctx, msg)
	if err != nil {
		return Receipt{}, c.submitError(r, msg.Subject, err)
	}
	return Receipt{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: same}, nil
}

// How long Submit waits for a stream that does not answer: a leader that died has a successor after 4 to 9 s.
const (
	electedWithin = 10 * time.Second
	electedLook   = 250 * time.Millisecond
)

func (c *Client) publish(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	for giveUp := time.Now().Add(electedWithin); ; {
		ack, err := c.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0)) // its own end with the context's error
		if !errors.Is(err, jetstream.ErrNoStreamResponse) || time.Now().After(giveUp) {
			return ack, err
		}
		again := time.After(electedLook)
		if end, ok := ctx.Deadline(); ok && time.Until(end) < 2*electedLook {
			again = nil // a try that ctx cuts off would hide why the tries before it failed
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-again:
		}
	}
}

func (c *Client) message(ctx context.Context, r Request) (*nats.Msg, error) {
	body, err := EncodeRequest(c.cfg.Encoding, r)
	if err != nil {
		return nil, err
	}
	msg := nats.NewMsg(c.cfg.Subjects.Request(c.cfg.Producer, r.Kind()))
	msg.Data = body
	switch {
	case c.cfg.Operator:
		msg.Subject = c.cfg.Subjects.Operator(c.cfg.Producer, r.Kind())
	case c.cfg.Sign != nil:
		for name, value := range c.cfg.Sign.Sign(msg.Subject, r.OrderID(), time.Now(), body) {
			msg.Header.Set(name, value)
		}
	}
	msg.Header.Set(HeaderContentType, c.cfg.Encoding.ContentType())
	msg.Header.Set(HeaderOrderID, r.OrderID())
	if c.cfg.Trace != nil {
		parent, state := c.cfg.Trace(ctx)
		if parent != "" {
			msg.Header.Set(HeaderTraceParent, parent)
		}
		if state != "" {
			msg.Header.Set(HeaderTraceState, state)
		}
	}
	return msg, nil
}

func (c *Client) submitError(r Request, subject string, err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("submitting %q: %w: no stream has the subject %s, or its leader does not answer; try again, run `entrust-worker provision`, "+
			"or check the prefix and that the account has JetStream: %w", r.OrderID(), ErrNoStream, subject, err)
	case errors.As(err, &api) && api.ErrorCode == streamStoreFailed:
		return fmt.Errorf("submitting %q: %w: %w", r.OrderID(), ErrStreamFull, err)
	}
	return fmt.Errorf("submitting %q: %w", r.OrderID(), err)
}

// streamStoreFailed is the server's JSStreamStoreFailedF, which it answers with when a stream that discards new messages
// is full. nats.go has no name for it.
const streamStoreFailed jetstream.ErrorCode = 10077
