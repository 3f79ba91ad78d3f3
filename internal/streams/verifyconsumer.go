package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// consumer checks one of the durable consumers.
func (c *checker) consumer(ctx context.Context, js jetstream.JetStream, want lane) error {
	durable := want.config.Durable
	name := fmt.Sprintf("consumer %s of stream %s", durable, want.stream)
	info, err := consumerInfo(ctx, js, want.stream, durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		c.missing(name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	got := info.Config
	o := &object{
		checker: c,
		name:    name,
		edit:    fmt.Sprintf("nats consumer edit %s %s", want.stream, durable),
		remake: fmt.Sprintf("stop the workers, nats consumer rm %s %s, then entrust-worker provision",
			want.stream, durable),
	}
	o.delivery(want.config, got)
	o.acknowledgement(want.config, got)
	o.answersPulls(got)
	if p := got.PauseUntil; p != nil && p.After(time.Now()) {
		c.found = append(c.found, Finding{
			Object: name, Setting: "pause", Want: "none", Got: "until " + p.UTC().Format(time.RFC3339), Note: true,
			Why: "its lane stands still until then", Fix: fmt.Sprintf("nats consumer resume %s %s", want.stream, durable),
		})
	}
	return nil
}

// consumerInfo reads a consumer of any kind. js.Consumer refuses push consumers, whose settings
// must be reported too.
func consumerInfo(ctx context.Context, js jetstream.JetStream, stream, name string) (*jetstream.ConsumerInfo, error) {
	cons, err := js.Consumer(ctx, stream, name)
	if err == nil {
		return cons.CachedInfo(), nil
	}
	if !errors.Is(err, jetstream.ErrNotPullConsumer) {
		return nil, err
	}
	push, err := js.PushConsumer(ctx, stream, name)
	if err != nil {
		return nil, err
	}
	return push.CachedInfo(), nil
}

func (o *object) delivery(want, got jetstream.ConsumerConfig) {
	o.check(got.Durable != "", "durable", "true", "false",
		"the server deletes an ephemeral consumer when no client reads", "")
	o.check(got.DeliverSubject == "", "delivery", "pull", "push",
		"the server would push messages to a worker that has no room for them", "")
	w, g := slices.Sorted(slices.Values(filters(want))), slices.Sorted(slices.Values(filters(got)))
	o.check(slices.Equal(w, g), "filter", strings.Join(w, " "), cmpWord(strings.Join(g, " ")),
		"a lane must get its own messages only, and never the wake-ups of waiting orders",
		"--filter="+strings.Join(w, " --filter="))
	o.check(got.DeliverPolicy == jetstream.DeliverAllPolicy, "deliver policy", "all", got.DeliverPolicy.String(),
		"the server would skip requests that are older than the consumer", "")
	o.check(got.ReplayPolicy == jetstream.ReplayInstantPolicy, "replay policy", "instant", "original",
		"the server would delay messages", "")
	o.check(!got.HeadersOnly, "headers only", "false", "true",
		"the worker needs the bodies", "--no-headers-only")
	o.check(got.RateLimit == 0, "rate limit", "none", strconv.FormatUint(got.RateLimit, 10), "the server would delay messages", "")
}

func (o *object) acknowledgement(want, got jetstream.ConsumerConfig) {
	o.check(got.AckPolicy == jetstream.AckExplicitPolicy, "ack policy", "explicit", got.AckPolicy.String(),
		"one acknowledgement would cover other messages, or none would be needed", "")
	o.check(got.MaxDeliver <= 0, "max deliver", "unlimited", strconv.Itoa(got.MaxDeliver),
		"the server would drop a request and report nothing", "--max-deliver=-1")
	o.check(len(got.BackOff) == 0, "backoff", "none", fmt.Sprint(got.BackOff),
		"it overrides the ack wait, which leases depend on", "--backoff=none")
	o.check(got.AckWait == want.AckWait, "ack wait", want.AckWait.String(), got.AckWait.String(),
		"the worker extends messages by the configured ack wait", "--wait="+want.AckWait.String())
	// A larger value is fine: each worker's concurrency limits what it pulls.
	o.check(got.MaxAckPending >= want.MaxAckPending || got.MaxAckPending < 0, "max ack pending", "at least "+strconv.Itoa(want.MaxAckPending), strconv.Itoa(got.MaxAckPending),
		"it limits the lane over all workers, and would keep them idle", "--max-pending="+strconv.Itoa(want.MaxAckPending))
	o.check(got.InactiveThreshold == 0, "inactive threshold", "none", got.InactiveThreshold.String(),
		"the consumer would be deleted while all workers are down", "--inactive-threshold=0")
	o.check(!got.MemoryStorage, "memory storage", "false", "true",
		"counts of deliveries would not survive a restart", "")
}

// answersPulls checks what would make the server refuse a worker's pull requests.
func (o *object) answersPulls(got jetstream.ConsumerConfig) {
	const why = "the server would refuse the worker's pull requests"
	o.check(got.MaxRequestBatch == 0, "max pull batch", "unlimited", strconv.Itoa(got.MaxRequestBatch), why, "--max-pull-batch=0")
	o.check(got.MaxRequestExpires == 0, "max pull expire", "unlimited", got.MaxRequestExpires.String(), why, "--max-pull-expire=0")
	o.check(got.MaxRequestMaxBytes == 0, "max pull bytes", "unlimited", strconv.Itoa(got.MaxRequestMaxBytes), why, "--max-pull-bytes=0")
	o.check(len(got.PriorityGroups) == 0, "priority groups", "none", strings.Join(got.PriorityGroups, " "), why, "")
}
