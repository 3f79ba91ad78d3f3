package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Errors that the methods wrap, for errors.Is.
var (
	// ErrPending: the order is on its way, and there is no result yet. Call again later, with the same request.
	ErrPending = errors.New("no result yet")
	// ErrOtherKey: the order was submitted before with a certificate request for another key, and its certificate is for
	// that one. Use the key of that time, or revoke the certificate, whose serial number the error has.
	ErrOtherKey = errors.New("the certificate is for another key")
	// ErrUnsupported: Entrust publishes revocation lists and OCSP responses itself.
	ErrUnsupported = errors.New("not supported")
)

// OutcomeError says how an order ended that did not succeed. The same call gets it again for as long as the order is the
// same: see the package's comment.
type OutcomeError struct {
	// OrderID is the id of the request on the bus.
	OrderID string
	// Outcome is never issued or revoked.
	Outcome entrustbus.Outcome
	// TrackingID is the gateway's name of the order, where it gave one: an expired order can be tracked by it.
	TrackingID string
	// Cause says why; nil where the order was cancelled.
	Cause *entrustbus.ResultError
}

// Error is one line for people.
func (e *OutcomeError) Error() string {
	text := fmt.Sprintf("order %s: %s", e.OrderID, e.Outcome)
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	if e.TrackingID != "" {
		text += fmt.Sprintf(" (tracking id %s)", e.TrackingID)
	}
	return text
}

// Config is the configuration of an issuer, in the form that certctl stores. Only Producer is required.
type Config struct {
	// Producer is the name under which requests are made. NATS permissions decide who may use it.
	Producer string `json:"producer"`
	// CAID and ProfileID are the gateway's. Empty: those of the worker.
	CAID      string `json:"ca_id,omitempty"`
	ProfileID string `json:"profile_id,omitempty"`
	// WaitSeconds is how long a call waits for a result before it returns ErrPending: at least 1, default 20. Longer
	// gets more certificates in the first call, and leaves less of certctl's two minutes to the other jobs of a tick.
	WaitSeconds int64 `json:"wait_seconds,omitempty"`
	// WindowSeconds is for how long the same request without a job id is the same order: at least a minute, default a day.
	// It must not be below PollMaxWaitSeconds, so that an order which waits for approval is found. Longer catches later
	// retries, and refuses a renewal with a new key for longer.
	WindowSeconds int64 `json:"window_seconds,omitempty"`
	// PollMaxWaitSeconds is how long an order may wait for approval. 0: the worker's configured time.
	PollMaxWaitSeconds int64 `json:"poll_max_wait_seconds,omitempty"`
	// Prefix, ResultStream and LedgerBucket are names that the operator of the worker chose. Empty: the defaults of
	// entrustbus.
	Prefix       string `json:"prefix,omitempty"`
	ResultStream string `json:"result_stream,omitempty"`
	LedgerBucket string `json:"ledger_bucket,omitempty"`
	// Sign, if set, signs every request. It is no part of what certctl stores.
	Sign *entrustbus.SigningKey `json:"-"`
}

const (
	defaultWait   = 20
	defaultWindow = 86400
	leastWindow   = 60
)

// withDefaults fills in the defaults, and reports an invalid value as a *entrustbus.FieldError.
func (c Config) withDefaults() (Config, error) {
	if c.WaitSeconds == 0 {
		c.WaitSeconds = defaultWait
	}
	if c.WindowSeconds == 0 {
		c.WindowSeconds = max(defaultWindow, c.PollMaxWaitSeconds)
	}
	switch {
	case c.WaitSeconds < 1:
		return c, &entrustbus.FieldError{Field: "wait_seconds", Problem: fmt.Sprintf("must be at least 1: %d !>= 1", c.WaitSeconds)}
	case c.WindowSeconds < leastWindow:
		return c, &entrustbus.FieldError{Field: "window_seconds", Problem: fmt.Sprintf("must be at least %d: %d !>= %d", leastWindow, c.WindowSeconds, leastWindow)}
	case c.WindowSeconds < c.PollMaxWaitSeconds:
		return c, &entrustbus.FieldError{
			Field:   "window_seconds",
			Problem: fmt.Sprintf("must be at least poll_max_wait_seconds: %d !>= %d", c.WindowSeconds, c.PollMaxWaitSeconds),
			Fix:     "an order that waits for longer than the window would be submitted again",
		}
	}
	return c, nil
}

// Issuer has the methods of certctl's issuer interface. Make it with New. It keeps nothing but its configuration, and is
// safe for concurrent use.
type Issuer struct {
	nc     *nats.Conn
	client *entrustbus.Client
	cfg    Config
}

// New makes an issuer. It does not talk to the server. An invalid value is a *entrustbus.FieldError. The caller owns the
// connection.
func New(nc *nats.Conn, cfg Config) (*Issuer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{
		Producer: cfg.Producer, Subjects: entrustbus.Subjects{Prefix: cfg.Prefix},
		ResultStream: cfg.ResultStream, LedgerBucket: cfg.LedgerBucket, Sign: cfg.Sign,
	})
	if err != nil {
		return nil, err
	}
	return &Issuer{nc: nc, client: client, cfg: cfg}, nil
}

// wait waits for the result of an order for Config.WaitSeconds.
func (i *Issuer) wait(ctx context.Context, id string) (*entrustbus.Result, error) {
	bounded, cancel := context.WithTimeout(ctx, time.Duration(i.cfg.WaitSeconds)*time.Second)
	defer cancel()
	result, err := i.client.Wait(bounded, id)
	if err == nil || bounded.Err() == nil {
		return result, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("order %s: %w: %w", id, ErrPending, context.Cause(ctx))
	}
	return nil, fmt.Errorf("order %s: %w: %s", id, ErrPending, i.whereIs(ctx, id))
}

// whereIs is the state of an order without a result, in words.
func (i *Issuer) whereIs(ctx context.Context, id string) string {
	order, err := i.client.Order(ctx, id)
	switch {
	case errors.Is(err, entrustbus.ErrNoOrder):
		return "no worker has begun it"
	case err != nil:
		return "its phase cannot be read: " + err.Error()
	case order.Phase == entrustbus.PhaseAwaiting && !order.Deadline.IsZero():
		return fmt.Sprintf("it waits for approval until %s as %s", order.Deadline.Format(time.RFC3339), order.TrackingID)
	case order.Phase == entrustbus.PhaseAwaiting:
		return "it waits for approval as " + order.TrackingID
	}
	return "its phase is " + string(order.Phase)
}

func ended(result *entrustbus.Result) error {
	return &OutcomeError{OrderID: result.ID, Outcome: result.Outcome, TrackingID: result.TrackingID, Cause: result.Error}
}
