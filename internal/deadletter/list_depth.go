package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Other stands for every reason that no worker of this version writes.
const Other order.Reason = "other"

// Depth is the number of dead letters of one reason.
type Depth struct {
	Reason  order.Reason
	Letters uint64
	Oldest  time.Time // when the oldest was stored, UTC; zero where there is none
	// Most is the largest number of dead letters that one producer has of this reason.
	Most uint64
}

// Depths counts the dead letters of every reason, also those with none. Other comes last, and
// only where there are any. Depths reads only the oldest dead letter of each reason, so a
// caller may ask every few seconds. Its cost grows with the number of producers that have dead
// letters.
func (b *Box) Depths(ctx context.Context) ([]Depth, error) {
	st, err := b.stored(ctx)
	if err != nil {
		return nil, err
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(b.subjects.DeadFilter()))
	if err != nil {
		return nil, fmt.Errorf("counting the dead letters in %s: %w", b.stream, err)
	}
	reasons := order.Reasons()
	depths := make([]Depth, len(reasons)+1)
	for i, reason := range append(reasons, Other) {
		depths[i].Reason = reason
	}
	otherSubjects := map[string]bool{}
	for subject, n := range info.State.Subjects {
		_, reason, err := b.subjects.ParseDead(subject)
		i := slices.Index(reasons, order.Reason(reason))
		if err != nil || i < 0 {
			i = len(reasons)
			otherSubjects[subject] = true
		}
		depths[i].Letters += n
		depths[i].Most = max(depths[i].Most, n)
	}
	for i := range reasons {
		if depths[i].Letters > 0 {
			if depths[i].Oldest, err = b.oldest(ctx, st, b.subjects.Dead("*", string(reasons[i]))); err != nil {
				return nil, err
			}
		}
	}
	other := &depths[len(reasons)]
	if other.Letters == 0 {
		return depths[:len(reasons)], nil
	}
	for subject := range otherSubjects {
		at, err := b.oldest(ctx, st, subject)
		if err != nil {
			return nil, err
		}
		if other.Oldest.IsZero() || (!at.IsZero() && at.Before(other.Oldest)) {
			other.Oldest = at
		}
	}
	return depths, nil
}

// oldest returns when the first message that matches filter was stored.
func (b *Box) oldest(ctx context.Context, st jetstream.Stream, filter string) (time.Time, error) {
	m, err := st.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(filter))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return time.Time{}, nil // purged after it was counted
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the oldest dead letter on %s: %w", filter, err)
	}
	return m.Time.UTC(), nil
}
