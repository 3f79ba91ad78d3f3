// Package wakeup schedules wake-ups for waiting orders: one message schedule per order. At its
// time the server turns the schedule into a due message.
//
// A due message only makes a worker look at the order. The ledger says whether the order still
// waits. The rules below survived servers and workers that were killed at random. The variants
// that look safer lose orders, each for a reason in nats-server 2.15:
//
//   - The schedule is published unconditionally. The server checks an expected-sequence of 0
//     against the state that the stream leader has applied. A due message can overtake the
//     purge of its own schedule; the server then refuses the next schedule.
//   - There is no target rollup and no purge of a due subject. After either, a consumer with a
//     wider filter forgets other messages that it delivered.
//   - There is no Nats-Msg-Id on a schedule. The server acknowledges a repeated id as a
//     duplicate and schedules nothing.
//   - The time is written with nanoseconds. jetstream.WithScheduleAt cuts it to whole seconds,
//     and the schedule then fires up to a second early.
package wakeup

import (
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// ErrNewerFormat says that a newer worker scheduled the wake-up. This worker must not touch it.
var ErrNewerFormat = errors.New("the wake-up has a newer format than this worker reads")

// Headers of a message schedule (ADR-51).
const (
	headerSchedule = "Nats-Schedule"
	headerTarget   = "Nats-Schedule-Target"
)

// The worker's own headers on a wake-up.
const (
	headerFormat   = "Entrust-Format"
	headerPhase    = "Entrust-Phase" // of the waiting record
	headerObserved = "Entrust-Observed-Revision"
	headerSubject  = "Entrust-Request-Subject" // of the waiting request
	headerAsked    = "Entrust-Requested-At"
	// headerPrefix marks the request's own headers. Otherwise the server or this package would
	// obey them.
	headerPrefix = "Entrust-Original-"
)

// schedule builds the message that schedules w.
func schedule(subjects entrustbus.Subjects, w *order.Wakeup) *nats.Msg {
	due := w.Due.UTC().Format(time.RFC3339Nano)
	at := due
	if !w.At.IsZero() {
		at = w.At.UTC().Format(time.RFC3339Nano)
	}
	msg := &nats.Msg{
		Subject: subjects.Parked(w.Key.Producer, w.Key.ID),
		Header: nats.Header{
			headerSchedule:           {"@at " + at},
			headerTarget:             {subjects.Due(string(w.Lane), w.Key.Producer, w.Key.ID)},
			headerFormat:             {strconv.Itoa(order.Format)},
			entrustbus.HeaderOrderID: {w.Key.ID},
			entrustbus.HeaderKind:    {string(w.Kind)},
			entrustbus.HeaderDue:     {due},
			entrustbus.HeaderAttempt: {strconv.Itoa(w.Polls)},
			entrustbus.HeaderReplay:  {strconv.Itoa(w.Generation)},
		},
	}
	set := func(name, value string) {
		if value != "" {
			msg.Header[name] = []string{value}
		}
	}
	set(headerPhase, string(w.Phase))
	set(entrustbus.HeaderTrackingID, w.TrackingID)
	if !w.RequestedAt.IsZero() {
		set(headerAsked, w.RequestedAt.UTC().Format(time.RFC3339Nano))
	}
	if !w.Deadline.IsZero() {
		set(entrustbus.HeaderDeadline, w.Deadline.UTC().Format(time.RFC3339Nano))
	}
	if w.Observed != 0 {
		set(headerObserved, strconv.FormatUint(w.Observed, 10))
	}
	if w.Request == nil {
		return msg
	}
	msg.Data = w.Request.Body
	set(headerSubject, w.Request.Subject)
	// Encoding and trace also have their usual names, so that a tool can read the body of a
	// waiting order and find its trace.
	for name, values := range w.Request.Header {
		if textproto.CanonicalMIMEHeaderKey(name) == entrustbus.HeaderContentType {
			msg.Header[name] = values
		}
		msg.Header[headerPrefix+name] = values
	}
	parent, traceState := w.Request.Trace()
	set(entrustbus.HeaderTraceParent, parent)
	set(entrustbus.HeaderTraceState, traceState)
	return msg
}

// parse reads a wake-up or its due message. When it fires a schedule, the server removes only
// Nats headers. A due subject names the lane; on the subject of a wake-up, the target header
// does.
func parse(subjects entrustbus.Subjects, subject string, header nats.Header, body []byte) (*order.Wakeup, error) {
	lane, producer, id, err := subjects.ParseDue(subject)
	if err != nil {
		if producer, id, err = subjects.ParseOrder(subject); err != nil {
			return nil, err
		}
		lane, _, _, _ = subjects.ParseDue(header.Get(headerTarget)) // checked below
	}
	w := &order.Wakeup{
		Key:        order.Key{Producer: producer, ID: id},
		Kind:       entrustbus.Kind(header.Get(entrustbus.HeaderKind)),
		Lane:       order.Lane(lane),
		TrackingID: header.Get(entrustbus.HeaderTrackingID),
	}
	for _, phase := range order.Phases() {
		if header.Get(headerPhase) == string(phase) {
			w.Phase = phase // any other value leaves it ""
		}
	}
	if format, err := strconv.Atoi(header.Get(headerFormat)); err != nil || format > order.Format {
		if err == nil {
			return w, fmt.Errorf("reading %s: %w: %d > %d", subject, ErrNewerFormat, format, order.Format)
		}
		return nil, fmt.Errorf("reading header %s of %s: not a format number", headerFormat, subject)
	}
	if !slices.Contains(order.Lanes(), w.Lane) || !w.Kind.Valid() {
		return nil, fmt.Errorf("reading %s: unknown lane %q or kind %q", subject, lane, w.Kind)
	}
	if on := header.Get(headerSubject); on != "" {
		w.Request = &order.Message{Subject: on, Header: map[string][]string{}, Body: body}
		for name, values := range header {
			if original, ok := strings.CutPrefix(name, headerPrefix); ok {
				w.Request.Header[original] = values
			}
		}
	}
	for _, t := range []struct {
		name string
		to   *time.Time
	}{{entrustbus.HeaderDue, &w.Due}, {entrustbus.HeaderDeadline, &w.Deadline}, {headerAsked, &w.RequestedAt}} {
		text := header.Get(t.name)
		if text == "" && t.name != entrustbus.HeaderDue {
			continue
		}
		if *t.to, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return nil, fmt.Errorf("reading header %s of %s: not an RFC 3339 time", t.name, subject)
		}
	}
	for _, n := range []struct {
		name string
		to   *int
	}{{entrustbus.HeaderAttempt, &w.Polls}, {entrustbus.HeaderReplay, &w.Generation}} {
		if *n.to, err = strconv.Atoi(header.Get(n.name)); err != nil || *n.to < 0 {
			return nil, fmt.Errorf("reading header %s of %s: not a count", n.name, subject)
		}
	}
	if text := header.Get(headerObserved); text != "" {
		if w.Observed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, fmt.Errorf("reading header %s of %s: not a revision", headerObserved, subject)
		}
	}
	return w, nil
}
