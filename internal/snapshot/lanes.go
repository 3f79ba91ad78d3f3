package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// laneAt names the stream and the consumer of a lane.
type laneAt struct{ name, stream, consumer string }

func lanesOf(l streams.Layout) []laneAt {
	return []laneAt{
		{"issue", l.Requests, streams.ConsumerIssue},
		{"revoke", l.Requests, streams.ConsumerRevoke},
		{"manage", l.Requests, streams.ConsumerManage},
		{"poll", l.Parked, streams.ConsumerPoll},
		{"resubmit", l.Parked, streams.ConsumerResubmit},
		{"revoke-again", l.Parked, streams.ConsumerRevokeAgain},
		{"manage-again", l.Parked, streams.ConsumerManageAgain},
	}
}

// Lanes returns the names of the lanes, as in logs and metrics.
func Lanes() []string {
	var names []string
	for _, at := range lanesOf(streams.Layout{}) {
		names = append(names, at.name)
	}
	return names
}

// Lanes reads the lanes without the age of their oldest message.
func (r *Reader) Lanes(ctx context.Context) ([]Lane, error) {
	var all []Lane
	for _, at := range lanesOf(r.layout) {
		lane, _, err := r.lane(ctx, at)
		if err != nil {
			return nil, err
		}
		all = append(all, lane)
	}
	return all, nil
}

func (r *Reader) lane(ctx context.Context, at laneAt) (Lane, *jetstream.ConsumerInfo, error) {
	c, err := r.js.Consumer(ctx, at.stream, at.consumer)
	if err != nil {
		return Lane{}, nil, fmt.Errorf("reading the consumer %s: %w", at.consumer, err)
	}
	info := c.CachedInfo()
	return Lane{Name: at.name, InFlight: info.NumAckPending, Backlog: info.NumPending}, info, nil
}

// Ages reads the lanes with the store time of their oldest message.
func (r *Reader) Ages(ctx context.Context) ([]Lane, error) { return r.lanesSince(ctx, 0) }

func (r *Reader) lanesSince(ctx context.Context, skew time.Duration) ([]Lane, error) {
	var all []Lane
	for _, at := range lanesOf(r.layout) {
		lane, info, err := r.lane(ctx, at)
		if err != nil {
			return nil, err
		}
		if lane.InFlight > 0 || lane.Backlog > 0 {
			if lane.Oldest, err = r.oldest(ctx, at, info); err != nil {
				return nil, err
			}
			if !lane.Oldest.IsZero() {
				lane.Oldest = lane.Oldest.Add(-skew).UTC()
			}
		}
		all = append(all, lane)
	}
	return all, nil
}

// oldest returns when the oldest message of a lane was stored. Handled messages have left
// the stream, so the first message after the consumer's ack floor is the oldest.
func (r *Reader) oldest(ctx context.Context, at laneAt, info *jetstream.ConsumerInfo) (oldest time.Time, err error) {
	st, err := r.js.Stream(ctx, at.stream)
	if err != nil {
		return oldest, fmt.Errorf("reading the stream %s: %w", at.stream, err)
	}
	for _, filter := range append(info.Config.FilterSubjects, info.Config.FilterSubject) {
		if filter == "" {
			continue
		}
		msg, err := st.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(filter))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return oldest, fmt.Errorf("reading the oldest message of the lane %s: %w", at.name, err)
		case oldest.IsZero() || msg.Time.Before(oldest):
			oldest = msg.Time
		}
	}
	return oldest, nil
}
