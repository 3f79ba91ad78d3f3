// Package parking is the alarm clock of orders that wait for approval: one
// message schedule per order, which the server turns into a due message when
// its time has come.
//
// A slot is only a wake-up. Whether the order still waits, the ledger says. The
// recipe below survived servers and workers killed at random; the variants that
// look safer lose orders, each for a reason in nats-server 2.15:
//
//   - The slot is published unconditionally. An expected-sequence of 0 is
//     answered from the state that the stream leader has applied; a due message
//     can overtake the purge of its own slot, and the re-park is then refused.
//   - There is no target rollup and no purge of a due subject. Both make a
//     consumer with a wider filter forget other messages that it delivered.
//   - There is no Nats-Msg-Id on a slot. A repeated id is acknowledged as a
//     duplicate and parks nothing.
//   - The time is written with nanoseconds. jetstream.WithScheduleAt cuts it to
//     whole seconds, and the slot fires up to a second early.
package parking

import (
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// Headers of a message schedule (ADR-51).
const (
	headerSchedule = "Nats-Schedule"
	headerTarget   = "Nats-Schedule-Target"
)

// headerSubject keeps the subject of the request that a slot stands for.
const headerSubject = "Entrust-Request-Subject"

// headerPrefix marks the request's own headers on a slot, so that neither the
// server nor this package mistakes one for its own.
const headerPrefix = "Entrust-Original-"

// Slot is one parked order: when to look again, and the request itself, so that
// a wake-up needs nothing but the ledger beside it.
type Slot struct {
	Key        ledger.Key
	Kind       entrustbus.Kind
	Due        time.Time // UTC; never after Deadline
	Deadline   time.Time // UTC
	Attempt    int       // polls made so far
	TrackingID string
	Replay     int
	Request    *ledger.Request

	// Sequence is the stream sequence of a slot that was read, else 0.
	Sequence uint64
}

// message returns the message that arms the slot.
func (s *Slot) message(subjects entrustbus.Subjects) *nats.Msg {
	msg := &nats.Msg{
		Subject: subjects.Parked(s.Key.Producer, s.Key.ID),
		Header: nats.Header{
			headerSchedule:              {"@at " + s.Due.UTC().Format(time.RFC3339Nano)},
			headerTarget:                {subjects.Due(s.Key.Producer, s.Key.ID)},
			entrustbus.HeaderOrderID:    {s.Key.ID},
			entrustbus.HeaderKind:       {string(s.Kind)},
			entrustbus.HeaderDue:        {s.Due.UTC().Format(time.RFC3339Nano)},
			entrustbus.HeaderDeadline:   {s.Deadline.UTC().Format(time.RFC3339Nano)},
			entrustbus.HeaderAttempt:    {strconv.Itoa(s.Attempt)},
			entrustbus.HeaderTrackingID: {s.TrackingID},
			entrustbus.HeaderReplay:     {strconv.Itoa(s.Replay)},
		},
	}
	if s.Request != nil {
		msg.Data = s.Request.Body
		msg.Header[headerSubject] = []string{s.Request.Subject}
		for name, values := range s.Request.Header {
			switch textproto.CanonicalMIMEHeaderKey(name) {
			case "Content-Type", "Traceparent", "Tracestate":
				// Carried in the open too: whoever looks at a parked order
				// finds its trace and can read its body.
				msg.Header[name] = values
			}
			msg.Header[headerPrefix+name] = values
		}
	}
	return msg
}

// parse reads a slot, or the due message that it became, off the bus. The
// server strips only Nats headers when it fires.
func parse(subjects entrustbus.Subjects, subject string, header nats.Header, body []byte) (*Slot, error) {
	producer, id, err := subjects.ParseOrder(subject)
	if err != nil {
		return nil, err
	}
	s := &Slot{
		Key:        ledger.Key{Producer: producer, ID: id},
		Kind:       entrustbus.Kind(header.Get(entrustbus.HeaderKind)),
		TrackingID: header.Get(entrustbus.HeaderTrackingID),
		Request:    &ledger.Request{Subject: header.Get(headerSubject), Header: map[string][]string{}, Body: body},
	}
	for name, values := range header {
		if original, ok := strings.CutPrefix(name, headerPrefix); ok {
			s.Request.Header[original] = values
		}
	}
	for _, t := range []struct {
		name string
		to   *time.Time
	}{{entrustbus.HeaderDue, &s.Due}, {entrustbus.HeaderDeadline, &s.Deadline}} {
		if *t.to, err = time.Parse(time.RFC3339Nano, header.Get(t.name)); err != nil {
			return nil, fmt.Errorf("reading header %s of %s: not an RFC 3339 time", t.name, subject)
		}
	}
	for _, n := range []struct {
		name string
		to   *int
	}{{entrustbus.HeaderAttempt, &s.Attempt}, {entrustbus.HeaderReplay, &s.Replay}} {
		if *n.to, err = strconv.Atoi(header.Get(n.name)); err != nil || *n.to < 0 {
			return nil, fmt.Errorf("reading header %s of %s: not a count", n.name, subject)
		}
	}
	return s, nil
}
