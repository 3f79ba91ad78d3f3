package tail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// fleetEvery is the interval between two comparisons of the fleet's state.
const fleetEvery = 2 * time.Second

// Follower follows the events of the bus. All fields but Since and Producer are required.
type Follower struct {
	JS     jetstream.JetStream
	Layout streams.Layout
	// Since is the server time from which events are read; zero: from now. The ledger
	// keeps only the last change of an order, and the bus keeps no changes of the fleet.
	Since time.Time
	// Producer limits orders, dead letters and decisions to one producer; "" means all.
	Producer string
}

// Events yields events until the loop breaks or ctx ends, which is no error. Events of
// one source are in order. An error ends the loop: a stream is missing, or the user may
// not read it.
func (f *Follower) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		events := make(chan Event)
		for _, s := range f.sources() {
			stop, err := f.follow(ctx, s, events)
			if err != nil {
				yield(Event{}, err)
				return
			}
			defer stop()
		}
		go f.fleet(ctx, events)
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-events:
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// source is one stream and the function that turns its messages into events.
type source struct {
	stream, subject string
	optional        bool
	read            func(jetstream.Msg, *jetstream.MsgMetadata) (Event, bool)
}

func (f *Follower) sources() []source {
	subjects := f.Layout.Subjects()
	producer := "*"
	if f.Producer != "" {
		producer = f.Producer
	}
	prefix := "$KV." + f.Layout.Orders + "."
	all := []source{
		{"KV_" + f.Layout.Orders, prefix + producer + ".*", false, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (Event, bool) {
			key, err := order.ParseKey(strings.TrimPrefix(m.Subject(), prefix))
			if err != nil || m.Headers().Get("KV-Operation") != "" {
				return Event{}, false
			}
			r, err := order.Decode(m.Data())
			if err != nil && !errors.Is(err, order.ErrNewerFormat) {
				return Event{}, false // the watchdog reports it
			}
			return ofRecord(key, r, meta.Timestamp.UTC())
		}},
		{f.Layout.Dead, subjects.Dead(producer, "*"), false, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (Event, bool) {
			l, err := deadletter.Parse(subjects, meta.Sequence.Stream, m.Subject(), m.Headers(), m.Data())
			if err != nil {
				return Event{}, false
			}
			return ofLetter(l, meta.Timestamp.UTC()), true
		}},
		{f.Layout.Audit, subjects.Audit(producer), true, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (Event, bool) {
			r, err := audit.Decode(m.Data())
			if err != nil || m.Headers().Get(audit.HeaderFirst) != "" {
				return Event{}, false
			}
			return ofDecision(r, meta.Timestamp.UTC())
		}},
	}
	if f.Layout.Events != "" && f.Producer == "" {
		all = append(all, source{f.Layout.Events, subjects.EventFilter(), true, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (Event, bool) {
			c, err := entrustbus.DecodeEvent(m.Data())
			if err != nil {
				return Event{}, false
			}
			return ofCertificate(c, meta.Timestamp.UTC()), true
		}})
	}
	return all
}

// follow sends the events of one stream until ctx ends or the caller calls stop.
func (f *Follower) follow(ctx context.Context, s source, events chan<- Event) (stop func(), err error) {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy, FilterSubjects: []string{s.subject}}
	if !f.Since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &f.Since
	}
	c, err := f.JS.OrderedConsumer(ctx, s.stream, cfg)
	if s.optional && errors.Is(err, jetstream.ErrStreamNotFound) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("following the stream %s: %w", s.stream, err)
	}
	running, err := c.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			return
		}
		e, tells := s.read(m, meta)
		if !tells {
			return
		}
		select {
		case events <- e:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return nil, fmt.Errorf("following the stream %s: %w", s.stream, err)
	}
	return running.Stop, nil
}

// fleet sends the changes of the fleet until ctx ends. While the bucket cannot be read,
// it sends nothing.
func (f *Follower) fleet(ctx context.Context, events chan<- Event) {
	var was map[string]thing
	ticks := time.NewTicker(fleetEvery)
	defer ticks.Stop()
	for {
		step, cancel := context.WithTimeout(ctx, fleetEvery)
		state, err := control.ReadState(step, f.JS, f.Layout.Control, 0)
		cancel()
		if err == nil {
			is := things(state)
			if was != nil {
				for _, e := range changes(was, is, time.Now()) {
					select {
					case events <- e:
					case <-ctx.Done():
					}
				}
			}
			was = is
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}
