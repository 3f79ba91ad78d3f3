package entrustbus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors that a Client's methods wrap, for errors.Is.
var (
	// ErrNoStream: nothing on the bus stores or serves this. The streams are not provisioned, the prefix or a name is
	// not the worker's, or the account has no JetStream. The text says which.
	ErrNoStream = errors.New("no such stream")
	// ErrStreamFull: the request stream has reached its limits and took nothing. Try again when workers caught up.
	ErrStreamFull = errors.New("the request stream is full")
	// ErrNoResult: there is no result yet, or no longer.
	ErrNoResult = errors.New("no result")
)

// Names that the worker gives the stream of results and the ledger unless the operator chose others.
const (
	DefaultResultStream = "ENTRUST_RESULTS"
	DefaultLedgerBucket = "ENTRUST_ORDERS"
)

// ClientConfig is what a Client needs to know. Only Producer is required.
type ClientConfig struct {
	// Producer is the name under which requests are made: [A-Za-z0-9_-]{1,64}. NATS permissions decide who may use it.
	Producer string
	// Encoding of requests, and so of their results. Zero: MessagePack.
	Encoding Encoding
	// Subjects holds the prefix. Zero: DefaultPrefix.
	Subjects Subjects
	// ResultStream is the stream of results. Empty: DefaultResultStream.
	ResultStream string
	// LedgerBucket is the key-value bucket that Watch reads. Empty: DefaultLedgerBucket.
	LedgerBucket string
	// JetStream, if set, is used in place of the connection's own: for a JetStream domain, an API prefix or another
	// default timeout. It must be of the connection that the Client is made with.
	JetStream jetstream.JetStream
	// Trace, if set, tells the W3C trace headers to send with a request; an empty one is not sent. The result carries
	// them again.
	Trace func(context.Context) (traceparent, tracestate string)
}

// Client publishes the requests of one producer and reads their results. Make it with New. It is safe for
// concurrent use and holds nothing that must be closed; the connection stays the caller's.
//
// A context without a deadline bounds Submit and Lookup by JetStream's default timeout (5 s unless configured), and
// Wait, Results and Watch by nothing.
type Client struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	cfg ClientConfig

	mu      sync.Mutex
	results jetstream.Stream // opened by the first look-up
}

// New makes a client for one producer. It does not talk to the server; a name that cannot be one is a *FieldError.
func New(nc *nats.Conn, cfg ClientConfig) (*Client, error) {
	if !ValidToken(cfg.Producer) {
		return nil, errToken("producer")
	}
	if err := cfg.Subjects.Validate(); err != nil {
		return nil, err
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

// Receipt is the server's word that a request is stored.
type Receipt struct {
	// Stream and Sequence say where. For a duplicate they are those of the first one.
	Stream   string
	Sequence uint64
	// Duplicate is true when the server has stored a request of this id within its duplicate window and kept that one.
	// A repetition that comes later is told by the worker instead. Neither changes anything if the content is the same.
	Duplicate bool
}

// Submit validates a request, publishes it and waits until the server has stored it. Errors: a *FieldError for a request
// that the contract forbids, ErrNoStream, ErrStreamFull, or what went wrong on the way. After any error but these three the
// request may be stored all the same; submitting it again under the same id is always safe.
func (c *Client) Submit(ctx context.Context, r Request) (Receipt, error) {
	if err := r.Validate(); err != nil {
		return Receipt{}, err
	}
	msg, err := c.message(ctx, r)
	if err != nil {
		return Receipt{}, err
	}
	ack, err := c.js.PublishMsg(ctx, msg)
	if err != nil {
		return Receipt{}, c.submitError(r, msg.Subject, err)
	}
	return Receipt{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

func (c *Client) message(ctx context.Context, r Request) (*nats.Msg, error) {
	body, err := EncodeRequest(c.cfg.Encoding, r)
	if err != nil {
		return nil, err
	}
	msg := nats.NewMsg(c.cfg.Subjects.Request(c.cfg.Producer, r.Kind()))
	msg.Data = body
	msg.Header.Set(jetstream.MsgIDHeader, RequestMsgID(c.cfg.Producer, r.OrderID(), 0))
	msg.Header.Set(HeaderContentType, c.cfg.Encoding.ContentType())
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
	api, refused := errors.AsType[*jetstream.APIError](err)
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("submitting %q: %w takes %s: run `entrust-worker provision`, check the prefix, and that the account has JetStream",
			r.OrderID(), ErrNoStream, subject)
	case refused && api.ErrorCode == streamStoreFailed:
		return fmt.Errorf("submitting %q: %w: %w", r.OrderID(), ErrStreamFull, err)
	}
	return fmt.Errorf("submitting %q: %w", r.OrderID(), err)
}

// streamStoreFailed is the server's JSStreamStoreFailedF, which it answers with when a stream that discards new messages
// is full. nats.go has no name for it.
const streamStoreFailed jetstream.ErrorCode = 10077
