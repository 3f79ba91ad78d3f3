package snapshot

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// clock holds the round trip and the skew that the server's answers show.
type clock struct{ rtt, skew time.Duration }

// narrowed adds an answer: the fastest answer is the most exact.
func (c clock) narrowed(asked, answered, server time.Time) clock {
	rtt := answered.Sub(asked)
	if c.rtt != 0 && c.rtt <= rtt {
		return c
	}
	return clock{rtt: max(rtt, 1), skew: server.Sub(asked.Add(rtt / 2)).Round(time.Microsecond)}
}

// readStreams reads the figures of every stream, and measures the server's time.
func (r *Reader) readStreams(ctx context.Context) (all []Stream, c clock, err error) {
	for _, name := range r.layout.Names() {
		asked := time.Now()
		st, err := r.js.Stream(ctx, name)
		if err != nil {
			return nil, c, fmt.Errorf("reading the stream %s: %w", name, err)
		}
		info := st.CachedInfo()
		c = c.narrowed(asked, time.Now(), info.TimeStamp)
		all = append(all, streamOf(info))
	}
	for i := range all {
		if !all[i].Last.IsZero() {
			all[i].Last = all[i].Last.Add(-c.skew).UTC()
		}
	}
	return all, c, nil
}

func streamOf(info *jetstream.StreamInfo) Stream {
	s := Stream{
		Name: info.Config.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes, Replicas: info.Config.Replicas,
		MaxBytes: uint64(max(info.Config.MaxBytes, 0)), MaxMessages: uint64(max(info.Config.MaxMsgs, 0)),
	}
	s.Sequence = info.State.LastSeq
	if s.Messages > 0 {
		s.Last = info.State.LastTime
	}
	if s.MaxBytes > 0 {
		s.Fullness = float64(s.Bytes) / float64(s.MaxBytes)
	}
	if s.MaxMessages > 0 {
		s.Fullness = max(s.Fullness, float64(s.Messages)/float64(s.MaxMessages))
	}
	if info.Cluster != nil {
		for _, peer := range info.Cluster.Replicas {
			if peer.Offline || !peer.Current {
				s.Behind++
			}
		}
	}
	return s
}
