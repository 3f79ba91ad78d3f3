package timeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// maxRead bounds the dead letters, and the audit records, that one story reads.
	maxRead = 20_000
	// maxGenerations bounds the results that one story reads.
	maxGenerations = 100
	// around is the time before and after a moment in which dead letters and audit
	// records are read.
	around = 10 * time.Minute
)

// recorded adds the entries of the record, for the generation in force.
func (t *telling) recorded() {
	r := t.rec
	if r.Phase == "" {
		return
	}
	t.received(r.Generation, r.RequestedAt, r.Kind)
	if r.Submissions > 0 {
		t.submitted(r.Generation, r.SubmittedAt, r.Submissions, r.TrackingID, r.CAID, r.ProfileID, r.PossibleDuplicate)
	}
	switch {
	case r.Phase == order.Submitting:
		t.add(r.At, "submitting", r.Generation, FromLedger, "worker "+r.Owner+" may be calling the gateway")
	case r.Cause == nil:
	case r.Cause.Code == order.CodeQuota:
		t.add(r.At, Deferred, r.Generation, FromLedger, r.Cause.Message)
	case r.Phase == order.Indeterminate:
		t.add(r.At, LostReply, r.Generation, FromLedger, problem(r.Cause))
	default:
		t.add(r.At, Refused, r.Generation, FromLedger, fmt.Sprintf("%s%s", by(r.Cause, ""), times(r.Tries)))
	}
}

// received adds the request of a generation, once.
func (t *telling) received(replay int, at time.Time, kind entrustbus.Kind) {
	what := Received
	if replay > 0 {
		what = Replayed
	}
	if !slices.ContainsFunc(t.story.Entries, func(e Entry) bool { return e.Replay == replay && (e.What == Received || e.What == Replayed) }) {
		t.add(at, what, replay, FromLedger, string(kind))
	}
}

// submitted adds the last submission of a generation, once.
func (t *telling) submitted(replay int, at time.Time, times int, tracking, ca, profile string, duplicate bool) {
	if slices.ContainsFunc(t.story.Entries, func(e Entry) bool { return e.Replay == replay && e.What == Submitted && e.Source != FromAudit }) {
		return
	}
	parts := []string{}
	for _, p := range [][2]string{{"CA", ca}, {"profile", profile}, {"tracking id", tracking}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	if times > 1 {
		parts = append(parts, fmt.Sprintf("submission %d", times))
	}
	if duplicate {
		parts = append(parts, "the gateway may hold a second order")
	}
	t.add(at, Submitted, replay, FromLedger, strings.Join(parts, ", "))
}

// results adds the result of each generation.
func (t *telling) results(ctx context.Context) {
	n := 0
	for m, err := range streams.ScanFrom(ctx, t.JS, t.Layout.Results, t.subjects.Result(t.key.Producer, t.key.ID), 1) {
		if err != nil {
			t.note("results cannot be read: %v", err)
			return
		}
		if n++; n > maxGenerations {
			t.note("only the first %d results were read", maxGenerations)
			return
		}
		t.moment(m.Time)
		enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		var r *entrustbus.Result
		if err == nil {
			r, err = entrustbus.DecodeResult(enc, m.Data)
		}
		if err != nil {
			t.note("the result at %d in stream %s cannot be read: %v", m.Sequence, t.Layout.Results, err)
			continue
		}
		t.ended(r, m.Time)
	}
}

// ended adds a result.
func (t *telling) ended(r *entrustbus.Result, at time.Time) {
	t.received(r.Replay, r.RequestedAt, r.Kind)
	if r.Submissions > 0 {
		t.submitted(r.Replay, r.SubmittedAt, r.Submissions, r.TrackingID, r.CAID, r.ProfileID, r.PossibleDuplicate)
	}
	parts := []string{}
	switch {
	case r.Error != nil:
		parts = append(parts, by(r.Error, r.Outcome))
	case r.Outcome == entrustbus.OutcomeIssued:
		parts = append(parts, fmt.Sprintf("serial %s, valid until %s", r.Serial, r.NotAfter.UTC().Format(time.RFC3339)))
	case r.Serial != "":
		parts = append(parts, "serial "+r.Serial)
	}
	if r.Polls > 0 {
		parts = append(parts, "after "+count(r.Polls, "poll"))
	}
	t.add(at, What(r.Outcome), r.Replay, FromResult, strings.Join(parts, ", "))
	f := &t.story.Facts
	if t.rec.Phase != "" && r.Replay != t.rec.Generation {
		return
	}
	f.Kind, f.Outcome, f.Replay, f.Error, f.Labels, f.Warnings = r.Kind, r.Outcome, r.Replay, r.Error, r.Labels, r.Warnings
	f.Polls = r.Polls
	f.Serial, f.TrackingID = cmp.Or(r.Serial, f.Serial), cmp.Or(r.TrackingID, f.TrackingID)
	f.CAID, f.ProfileID = cmp.Or(r.CAID, f.CAID), cmp.Or(r.ProfileID, f.ProfileID)
	if f.Requested.IsZero() {
		f.Requested, f.Submitted, f.Updated = r.RequestedAt, r.SubmittedAt, at.UTC()
	}
	f.Issued(r)
}

// by says which side refused an order, or answered last, and why. outcome is "" for a
// waiting order.
func by(e *entrustbus.ResultError, outcome entrustbus.Outcome) string {
	who := ""
	switch {
	case e.Class == entrustbus.ClassPolicy && e.HTTPStatus == 0:
		who = "by the policy: "
	case e.HTTPStatus >= 400 && (outcome == entrustbus.OutcomeUnconfirmed || outcome == entrustbus.OutcomeExpired):
		who = fmt.Sprintf("last answer of the gateway (HTTP %d): ", e.HTTPStatus)
	case e.HTTPStatus >= 400:
		who = fmt.Sprintf("by the gateway (HTTP %d): ", e.HTTPStatus)
	case outcome == entrustbus.OutcomeRejected:
		who = "by an approver or the gateway: "
	case e.Class == entrustbus.ClassValidation:
		who = "by the worker: "
	}
	return who + problem(e)
}

// problem formats an error as one line.
func problem(e *entrustbus.ResultError) string {
	text := cmp.Or(e.Message, string(e.Class))
	if e.Code != "" {
		text += " [" + e.Code + "]"
	}
	return text
}

func times(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d times in a row)", n)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// wakeup adds the wake-up or the due message of a waiting order.
func (t *telling) wakeup(ctx context.Context) {
	if !t.rec.Phase.Waits() && t.rec.Phase != order.Submitting && t.rec.Phase != order.Concluded {
		return
	}
	w, sequence, err := t.wakeups.Find(ctx, t.key)
	if err != nil {
		t.note("the wake-up cannot be read: %v", err)
		return
	}
	f := &t.story.Facts
	if w == nil {
		if w, err = t.wakeups.FindDue(ctx, t.key); err != nil || w == nil {
			return
		}
		f.Polls = w.Polls
		t.add(w.Due, Due, w.Generation, FromWakeup, "lane "+string(w.Lane))
		return
	}
	f.NextWakeup, f.Polls = w.Due, w.Polls
	m, err := streams.At(ctx, t.JS, t.Layout.Parked, sequence)
	if err != nil {
		return // it has just fired
	}
	detail := "next wake-up " + w.Due.UTC().Format(time.RFC3339) + ", lane " + string(w.Lane)
	if w.Polls > 0 {
		detail = "after " + count(w.Polls, "poll") + "; " + detail
	}
	t.add(m.Time, Parked, w.Generation, FromWakeup, detail)
}

// deadLetters adds the dead letters of the order.
func (t *telling) deadLetters(ctx context.Context) {
	t.scan(ctx, t.Layout.Dead, t.subjects.Dead(t.key.Producer, "*"), func(m *streams.Message) {
		l, err := deadletter.Parse(t.subjects, m.Sequence, m.Subject, m.Header, m.Data)
		if err != nil || l.Key != t.key {
			return
		}
		t.add(m.Time, DeadLetter, l.Generation, FromLetter, fmt.Sprintf("%s: %s (letter %d)", l.Reason, l.Why, m.Sequence))
		if t.rec.Request == nil && len(t.story.Names) == 0 {
			labels := t.story.Labels
			t.story.Asked(t.subjects, &l.Request, 0)
			if labels != nil {
				t.story.Labels = labels
			}
		}
	})
}

// audited adds the audit records of the order, if the audit stream exists.
func (t *telling) audited(ctx context.Context) {
	// The configuration of a verb need not mention the audit trail.
	if _, err := t.JS.Stream(ctx, t.Layout.Audit); errors.Is(err, jetstream.ErrStreamNotFound) {
		return
	}
	t.scan(ctx, t.Layout.Audit, t.subjects.Audit(t.key.Producer), func(m *streams.Message) {
		r, err := audit.Decode(m.Data)
		if err != nil || r.Order != t.key.ID || r.Producer != t.key.Producer || m.Header.Get(audit.HeaderFirst) != "" {
			return
		}
		parts := []string{}
		for _, p := range [][2]string{
			{"by", r.Operator}, {"reason:", r.Reason}, {"", r.How}, {"rule", r.Rule}, {"tracking id", r.TrackingID}, {"serial", r.Serial}, {"signed by key", r.KeyID},
		} {
			if p[1] != "" {
				parts = append(parts, strings.TrimSpace(p[0]+" "+p[1]))
			}
		}
		t.add(m.Time, What(r.Decision), r.Generation, FromAudit, strings.Join(parts, ", "))
	})
}

// scan reads the messages on a subject that were stored near a moment of the order, at
// most maxRead.
func (t *telling) scan(ctx context.Context, stream, subject string, each func(*streams.Message)) {
	left := maxRead
	done := uint64(0)
	for _, span := range spans(t.moments, around) {
		first, err := streams.FirstSince(ctx, t.JS, stream, span[0])
		if err != nil {
			if !errors.Is(err, streams.ErrNoMessage) {
				t.note("stream %s cannot be read: %v", stream, err)
			}
			return
		}
		for m, err := range streams.ScanFrom(ctx, t.JS, stream, subject, max(first.Sequence, done+1)) {
			if err != nil {
				t.note("stream %s cannot be read: %v", stream, err)
				return
			}
			if m.Time.After(span[1]) {
				break
			}
			if left--; left < 0 {
				t.note("stream %s was read in part: it holds more than %d messages of the producer near the order", stream, maxRead)
				return
			}
			done = m.Sequence
			each(m)
		}
	}
}

// spans returns the times around moments, in order and without overlap.
func spans(moments []time.Time, around time.Duration) [][2]time.Time {
	slices.SortFunc(moments, time.Time.Compare)
	var out [][2]time.Time
	for _, m := range moments {
		from, to := m.Add(-around), m.Add(around)
		if n := len(out); n > 0 && !from.After(out[n-1][1]) {
			out[n-1][1] = to
			continue
		}
		out = append(out, [2]time.Time{from, to})
	}
	return out
}
