package streams

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Change is one object that Provision creates.
type Change struct {
	// Kind is "stream", "bucket" or "consumer".
	Kind string `json:"kind"`
	// Name is the object's name. A consumer's name follows its stream's: "STREAM/consumer".
	Name string `json:"name"`
	// Detail describes the object in a few words.
	Detail string `json:"detail"`

	apply func(context.Context, jetstream.JetStream) error
}

// String returns one line for people.
func (c Change) String() string { return fmt.Sprintf("create %s %s: %s", c.Kind, c.Name, c.Detail) }

// Plan returns what Provision would create, in its order, and changes nothing.
func Plan(ctx context.Context, js jetstream.JetStream, l Layout) ([]Change, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	var plan []Change
	for _, cfg := range l.streamConfigs() {
		there, err := streamExists(ctx, js, cfg.Name)
		if err != nil {
			return nil, err
		}
		if !there {
			plan = append(plan, Change{
				Kind: "stream", Name: cfg.Name,
				Detail: fmt.Sprintf("%s, %s, R%d", retentionWord(cfg.Retention), strings.Join(cfg.Subjects, " "), cfg.Replicas),
				apply: func(ctx context.Context, js jetstream.JetStream) error {
					_, err := js.CreateStream(ctx, cfg)
					return ignore(err, jetstream.ErrStreamNameAlreadyInUse)
				},
			})
		}
	}
	for _, cfg := range append(l.bucketConfigs(), l.incidents()) {
		there, err := streamExists(ctx, js, bucketStream(cfg.Bucket))
		if err != nil {
			return nil, err
		}
		if !there {
			plan = append(plan, Change{
				Kind: "bucket", Name: cfg.Bucket,
				Detail: fmt.Sprintf("history %d, ttl %v, R%d", cfg.History, cfg.TTL, cfg.Replicas),
				apply: func(ctx context.Context, js jetstream.JetStream) error {
					_, err := js.CreateKeyValue(ctx, cfg)
					return ignore(err, jetstream.ErrBucketExists)
				},
			})
		}
	}
	for _, lane := range l.lanes() {
		_, err := consumerInfo(ctx, js, lane.stream, lane.config.Durable)
		switch {
		case err == nil:
			continue
		case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		default:
			return nil, fmt.Errorf("reading consumer %s of stream %s: %w", lane.config.Durable, lane.stream, err)
		}
		plan = append(plan, Change{
			Kind: "consumer", Name: lane.stream + "/" + lane.config.Durable,
			Detail: fmt.Sprintf("%s, ack wait %v, max ack pending %d", strings.Join(filters(lane.config), " "), lane.config.AckWait, lane.config.MaxAckPending),
			apply: func(ctx context.Context, js jetstream.JetStream) error {
				_, err := js.CreateConsumer(ctx, lane.stream, lane.config)
				return ignore(err, jetstream.ErrConsumerExists)
			},
		})
	}
	return plan, nil
}

// Provision creates the missing objects and returns what it created. It leaves existing objects
// unchanged, right or wrong, so call Verify afterwards. After an error it returns the changes
// that it made; calling it again continues from there. Two processes may run it at once.
func Provision(ctx context.Context, js jetstream.JetStream, l Layout) ([]Change, error) {
	plan, err := Plan(ctx, js, l)
	if err != nil {
		return nil, err
	}
	for i, c := range plan {
		if err := c.apply(ctx, js); err != nil {
			return plan[:i], fmt.Errorf("creating %s %s: %w", c.Kind, c.Name, err)
		}
	}
	return plan, nil
}

func streamExists(ctx context.Context, js jetstream.JetStream, name string) (bool, error) {
	_, err := js.Stream(ctx, name)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return false, nil
	default:
		return false, fmt.Errorf("reading stream %s: %w", name, err)
	}
}

// ignore drops the error that another process created the object first. Verify checks whether
// that object is right.
func ignore(err, exists error) error {
	if errors.Is(err, exists) {
		return nil
	}
	return err
}

// filters returns the filters of a consumer, from either field.
func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

func retentionWord(r jetstream.RetentionPolicy) string {
	switch r {
	case jetstream.WorkQueuePolicy:
		return "work queue"
	case jetstream.InterestPolicy:
		return "interest"
	default:
		return "limits"
	}
}
