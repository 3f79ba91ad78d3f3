package entrustbus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// Errors that CA, Check, Policy, Status and Version wrap, for errors.Is.
var (
	// ErrNoWorker: no worker answers questions. No worker runs, the prefix is not the worker's, or the workers have the NATS
	// permissions of an earlier version.
	ErrNoWorker = errors.New("no worker answers")
	// ErrNotAllowed: NATS permissions forbid this connection to ask as this producer.
	ErrNotAllowed = errors.New("the NATS permissions of this connection forbid it")
	// ErrUnknownCA: the gateway has no such CA for the workers' client certificate.
	ErrUnknownCA = errors.New("unknown CA")
	// ErrNotSupported: the gateway's dialect does not offer this. Asking again changes nothing.
	ErrNotSupported = errors.New("not supported by the gateway")
	// ErrUnavailable: the worker cannot answer now. The gateway does not answer or asked for a pause, or this producer asks
	// too often. Ask again later.
	ErrUnavailable = errors.New("not available now")
)

// Headers of an answer that is an error, those of NATS micro services. The body is empty.
const (
	HeaderServiceError     = "Nats-Service-Error"      // one line that says what was wrong
	HeaderServiceErrorCode = "Nats-Service-Error-Code" // one of the Answer codes
)

// Codes of answers that are errors.
const (
	AnswerInvalid      = "400" // the question breaks the contract; the text names the key
	AnswerUnknownCA    = "404" // ErrUnknownCA
	AnswerNoOrder      = "410" // ErrNoOrder
	AnswerTooMany      = "429" // ErrUnavailable: the producer asks too often
	AnswerNotSupported = "501" // ErrNotSupported
	AnswerUnavailable  = "503" // ErrUnavailable
)

// CA asks a worker for the certificates of a CA; "" is the worker's own. The gateway gives them before it issued anything.
// Errors: ErrUnknownCA, ErrNotSupported if the gateway speaks the certctl dialect, ErrUnavailable, ErrNoWorker,
// ErrNotAllowed, a *FieldError for an invalid id, or an error of NATS.
//
// NATS does not store questions, and one worker of the fleet answers. If the context has no deadline, JetStream's default
// timeout bounds a question.
func (c *Client) CA(ctx context.Context, caID string) (*CA, error) {
	answer := new(CA)
	if err := c.askAbout(ctx, TopicCA, caID, answer); err != nil {
		return nil, fmt.Errorf("asking for the certificates of CA %q: %w", caID, err)
	}
	return answer, nil
}

// Check asks a worker for its setup, for a CA; "" is the worker's own. Errors are those of CA except ErrNotSupported.
func (c *Client) Check(ctx context.Context, caID string) (*Check, error) {
	answer := new(Check)
	if err := c.askAbout(ctx, TopicCheck, caID, answer); err != nil {
		return nil, fmt.Errorf("asking a worker about its setup for CA %q: %w", caID, err)
	}
	return answer, nil
}

// Policy asks a worker whether its policy allows a request. The worker does not send the request to the gateway, and NATS
// does not store it. Errors: a *FieldError for a request that the contract forbids, ErrUnavailable, ErrNoWorker,
// ErrNotAllowed, or an error of NATS. A refusal by the policy is not an error.
func (c *Client) Policy(ctx context.Context, r Request) (*PolicyCheck, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	body, err := EncodeRequest(c.cfg.Encoding, r)
	if err != nil {
		return nil, err
	}
	answer := new(PolicyCheck)
	if err := c.ask(ctx, c.cfg.Subjects.AskPolicy(c.cfg.Producer, r.Kind()), body, answer); err != nil {
		return nil, fmt.Errorf("asking what the policy says of %q: %w", r.OrderID(), err)
	}
	return answer, nil
}

func (c *Client) askAbout(ctx context.Context, topic Topic, caID string, answer any) error {
	body, err := encodeQuestion(c.cfg.Encoding, caID)
	if err == nil {
		_, err = DecodeQuestion(c.cfg.Encoding, body) // says what is wrong with the id
	}
	if err != nil {
		return err
	}
	return c.ask(ctx, c.cfg.Subjects.Ask(c.cfg.Producer, topic), body, answer)
}

// ask sends a question and reads its answer. A server that forbids the question answers nothing: it says so before it
// answers a flush.
func (c *Client) ask(ctx context.Context, subject string, body []byte, answer any) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	msg := nats.NewMsg(subject)
	msg.Data, msg.Reply = body, c.nc.NewInbox()
	msg.Header.Set(HeaderContentType, c.cfg.Encoding.ContentType())
	sub, err := c.nc.SubscribeSync(msg.Reply)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	before := c.nc.LastError()
	if err := c.nc.PublishMsg(msg); err != nil {
		return err
	}
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	if err := c.nc.LastError(); err != before && errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`) { //nolint:errorlint // whether it is that very error is the question
		return fmt.Errorf("%w: publishing to %s", ErrNotAllowed, subject)
	}
	reply, err := sub.NextMsgWithContext(ctx)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w on %s: start a worker, or check the prefix and the permissions of the workers: %w", ErrNoWorker, subject, err)
	case err != nil:
		return err
	case reply.Header.Get(HeaderServiceErrorCode) != "":
		return answerError(reply.Header)
	}
	enc, err := EncodingOf(reply.Header.Get(HeaderContentType), reply.Data)
	if err != nil {
		return err
	}
	return DecodeAnswer(enc, reply.Data, answer)
}

func answerError(h nats.Header) error {
	text := h.Get(HeaderServiceError)
	switch h.Get(HeaderServiceErrorCode) {
	case AnswerUnknownCA:
		return fmt.Errorf("%w: %s", ErrUnknownCA, text)
	case AnswerNoOrder:
		return fmt.Errorf("%w: %s", ErrNoOrder, text)
	case AnswerNotSupported:
		return fmt.Errorf("%w: %s", ErrNotSupported, text)
	case AnswerTooMany, AnswerUnavailable:
		return fmt.Errorf("%w: %s", ErrUnavailable, text)
	}
	return errors.New(text)
}
