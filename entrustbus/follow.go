package entrustbus

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Results yields every result of the producer since an instant of the server's clock (the zero time: all that NATS keeps),
// then new results, in the order of publication. It ends when the loop breaks or the context ends; the end of the context is
// the last error. A result that cannot be read is yielded as a *FieldError, and the loop goes on; any other error is the
// last. A replayed request has one result for each generation.
//
// A program that must not miss a result across its own restarts uses ResultsAfter, or its own durable consumer and
// DecodeResult. No clock is exact enough for that: FinishedAt is by the worker's clock.
func (c *Client) Results(ctx context.Context, since time.Time) iter.Seq2[*Result, error] {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if !since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	return func(yield func(*Result, error) bool) { c.follow(ctx, cfg, yield) }
}

// ResultsAfter is Results after a sequence of the stream: it yields every later result of the producer, none twice. A program
// stores the Sequence of each result that it has handled, together with the effect of the result, and goes on from there when
// it starts again. It then misses no result and sees none twice, unless it is away for longer than NATS keeps results. 0 is
// before the first. If the stream ends before the sequence, ErrNewStream is the error and the only thing yielded. A result
// that cannot be read has no Sequence to store: it is yielded again after a restart unless another result followed it.
func (c *Client) ResultsAfter(ctx context.Context, sequence uint64) iter.Seq2[*Result, error] {
	return func(yield func(*Result, error) bool) {
		if err := c.reaches(ctx, sequence); err != nil {
			yield(nil, fmt.Errorf("reading results: %w", err))
			return
		}
		cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: sequence + 1}
		c.follow(ctx, cfg, yield)
	}
}

// reaches checks that the stream of results has come to a sequence. The server would wait in silence until it has, and
// skip what a stream that was made again holds before.
func (c *Client) reaches(ctx context.Context, sequence uint64) error {
	if sequence == 0 {
		return nil
	}
	stream, err := c.js.Stream(ctx, c.cfg.ResultStream)
	if err != nil {
		return c.streamError(err)
	}
	if last := stream.CachedInfo().State.LastSeq; last < sequence {
		return fmt.Errorf("%w: it ends at %d !>= %d", ErrNewStream, last, sequence)
	}
	return nil
}

func (c *Client) follow(ctx context.Context, cfg jetstream.OrderedConsumerConfig, yield func(*Result, error) bool) {
	cfg.FilterSubjects = []string{c.cfg.Subjects.Result(c.cfg.Producer, "*")}
	consumer, err := c.js.OrderedConsumer(ctx, c.cfg.ResultStream, cfg)
	if err != nil {
		yield(nil, fmt.Errorf("reading results: %w", c.streamError(err)))
		return
	}
	messages, err := consumer.Messages()
	if err != nil {
		yield(nil, fmt.Errorf("reading results: %w", c.streamError(err)))
		return
	}
	next, stop := inBackground(messages)
	defer stop()
	for {
		var msg delivery
		select {
		case <-ctx.Done():
			msg.err = context.Cause(ctx)
		case msg = <-next:
		}
		if msg.err != nil {
			yield(nil, fmt.Errorf("reading results: %w", msg.err))
			return
		}
		meta, err := msg.Metadata()
		if err != nil {
			yield(nil, fmt.Errorf("reading results: %w", err))
			return
		}
		if !yield(decodeResultMsg(msg.Headers(), msg.Data(), meta.Sequence.Stream)) {
			return
		}
	}
}

// delivery is what one call of Next returned.
type delivery struct {
	jetstream.Msg
	err error
}

// inBackground calls Next for as long as its answers are taken, until the first error or until it is stopped: Next takes
// no context in nats.go before 1.46.
func inBackground(messages jetstream.MessagesContext) (next <-chan delivery, stop func()) {
	deliveries, stopped := make(chan delivery), make(chan struct{})
	go func() {
		for {
			msg, err := messages.Next()
			select {
			case deliveries <- delivery{msg, err}:
			case <-stopped:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return deliveries, func() {
		close(stopped)
		messages.Stop()
	}
}
