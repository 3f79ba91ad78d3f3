package feed

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// overlap is the part of the earlier listing that is read again, in addition to
	// Feed.Delay: the gateway does not show events in the order of their dates.
	overlap = time.Hour
	// firstReach is how far back a feed without cursor and messages begins.
	firstReach = 24 * time.Hour
	// quietReach is how far back the listing of a CA without events goes. Each day
	// without events is a page and costs a call. It exceeds any plausible clock error.
	quietReach = 48 * time.Hour
	// maxThrottled is how often one page is requested again after a 429.
	maxThrottled = 3
	// maxPages bounds the listing of a gateway that never ends it.
	maxPages = 20000
)

// state is this worker's knowledge of the events of a CA.
type state struct {
	cursor control.Feed
	known  map[string]uint64 // sequence by id of the events that a listing may show again
	last   uint64            // sequence of the last message of the CA; 0: none
}

// Read reads the events of a CA to the end of their listing, and publishes events that
// were not published before. After an error the next call begins from the stream and the
// cursor. It is not safe for concurrent use.
func (f *Feed) Read(ctx context.Context, ca string) error {
	s := f.states[ca]
	if s == nil {
		var err error
		if s, err = f.load(ctx, ca); err != nil {
			return err
		}
	}
	delete(f.states, ca)
	if err := f.list(ctx, ca, s); err != nil {
		return err
	}
	if f.states == nil {
		f.states = map[string]*state{}
	}
	f.states[ca] = s
	return nil
}

// load reads the cursor and the published events.
func (f *Feed) load(ctx context.Context, ca string) (*state, error) {
	cursor, err := f.Cursors.ReadFeed(ctx, ca)
	if err != nil {
		return nil, err
	}
	s := &state{cursor: cursor, known: map[string]uint64{}}
	subject := f.Subjects.Event(ca)
	last, err := streams.Last(ctx, f.JS, f.Stream, subject)
	switch {
	case errors.Is(err, streams.ErrNoMessage):
	case err != nil:
		return nil, err
	default:
		s.last = last.Sequence
	}
	if s.cursor.Last > s.last {
		f.Log.WarnContext(ctx, "the stream of events lost its end, or was made again: reading older events again", "ca", ca)
		s.cursor = control.Feed{Since: s.cursor.Since.Add(-quietReach), Revision: s.cursor.Revision}
	}
	newest, err := f.published(ctx, subject, s)
	if err != nil {
		return nil, err
	}
	if s.cursor.Since.IsZero() {
		if s.cursor.Since = newest; newest.IsZero() {
			s.cursor.Since = f.Now().Add(-firstReach)
		}
	}
	return s, nil
}

// published reads the ids that the listing may show again, and the newest date among
// them. Any replica may answer, so published must reach the leader's last message.
func (f *Feed) published(ctx context.Context, subject string, s *state) (newest time.Time, err error) {
	if s.last == 0 {
		return newest, nil
	}
	reached := uint64(0)
	for m, err := range streams.ScanFrom(ctx, f.JS, f.Stream, subject, max(s.cursor.First, 1)) {
		if err != nil {
			return newest, err
		}
		s.known[m.Header.Get(entrustbus.HeaderEventID)], reached = m.Sequence, m.Sequence
		if e, err := entrustbus.DecodeEvent(m.Data); err == nil && e.HappenedAt.After(newest) {
			newest = e.HappenedAt
		}
		if reached >= s.last {
			break
		}
	}
	if reached < s.last && s.cursor.First <= s.last {
		return newest, fmt.Errorf("reading the published events: this replica does not have message %d yet", s.last)
	}
	return newest, nil
}

// list reads one listing to its end.
func (f *Feed) list(ctx context.Context, ca string, s *state) error {
	since := s.cursor.Since.Add(-overlap - f.Delay)
	seen := map[string]uint64{}
	next, newest := "", s.cursor.Since
	for n := 0; ; n++ {
		if n == maxPages {
			return fmt.Errorf("the listing of events has more than %d pages", maxPages)
		}
		page, err := f.page(ctx, ca, since, next)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			sequence, known := s.known[e.ID]
			if !known {
				if sequence, err = f.publish(ctx, ca, e, s.last); err != nil {
					return err
				}
				s.known[e.ID], s.last = sequence, sequence
			}
			if seen[e.ID] = sequence; e.Date.After(newest) {
				newest = e.Date
			}
		}
		if next = page.Next; !page.More {
			break
		}
	}
	// A date in the future would skip the events until then.
	now := f.Now()
	if newest.After(now) {
		newest = now
	}
	if quiet := now.Add(-quietReach); newest.Before(quiet) {
		newest = quiet
	}
	cursor := control.Feed{Since: newest.UTC(), First: s.last + 1, Last: s.last, Revision: s.cursor.Revision}
	for _, sequence := range seen {
		cursor.First = min(cursor.First, sequence)
	}
	s.known = seen
	// The date of a CA without events always moves on. Write it only now and then.
	if old := s.cursor; old.Revision > 0 && old.First == cursor.First && old.Last == cursor.Last && cursor.Since.Sub(old.Since).Abs() < overlap/2 {
		return nil
	}
	if err := f.Cursors.SaveFeed(ctx, ca, &cursor); err != nil {
		return err
	}
	s.cursor = cursor
	return nil
}

// page requests one page when its turn has come.
func (f *Feed) page(ctx context.Context, ca string, since time.Time, index string) (gateway.EventPage, error) {
	var throttled error
	if index != "" && f.Pace > 0 {
		if err := sleep(ctx, f.Pace); err != nil {
			return gateway.EventPage{}, err
		}
	}
	for tries := 1; ; tries++ {
		if err := f.Turn(ctx, throttled); err != nil {
			return gateway.EventPage{}, err
		}
		page, err := f.Gateway.Events(ctx, ca, since, index)
		if gateway.FateOf(err) != gateway.Throttled || tries > maxThrottled {
			return page, err
		}
		throttled = err
	}
}

// publish publishes an event after the last message of its CA.
func (f *Feed) publish(ctx context.Context, ca string, e gateway.Event, last uint64) (sequence uint64, err error) {
	out := entrustbus.Event{
		Version: entrustbus.Version, ID: e.ID, CAID: ca, Action: e.Action, HappenedAt: e.Date, Serial: e.Serial, Reason: e.Reason, Detail: e.Detail,
	}
	if n, ok := new(big.Int).SetString(e.Serial, 16); ok {
		out.SerialDecimal = n.String()
	}
	if e.Certificate != nil && len(e.Certificate.Raw) <= entrustbus.MaxCSRBytes {
		out.CertificatePEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate.Raw}))
	}
	body, err := entrustbus.EncodeEvent(&out)
	if err != nil {
		return 0, fmt.Errorf("encoding event %s of CA %s: %w", e.ID, ca, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	ack, err := f.JS.PublishMsg(ctx, &nats.Msg{Subject: f.Subjects.Event(ca), Data: body, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(last, 10)},
		entrustbus.HeaderEventID:            {e.ID},
		entrustbus.HeaderContentType:        {entrustbus.EncodingJSON.ContentType()},
	}})
	if err != nil {
		return 0, fmt.Errorf("publishing event %s of CA %s: %w", e.ID, ca, err)
	}
	return ack.Sequence, nil
}
