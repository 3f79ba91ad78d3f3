package replay_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// word is the word of a refusal, "" for none.
func word(err error) string {
	if r, ok := errors.AsType[*deadletter.Refusal](err); ok {
		return r.Word
	}
	return ""
}

// Each row is what the ledger says of the order when somebody wants its letter
// replayed.
func TestPlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const (
		issue  = entrustbus.KindIssue
		revoke = entrustbus.KindRevoke
		track  = entrustbus.KindTrack
		closed = ledger.Closed
	)
	for name, tc := range map[string]struct {
		kind       entrustbus.Kind
		reason     deadletter.Reason
		replay     int // the letter's
		deaths     int
		force      bool
		rec        ledger.Record
		foreign    bool // the record is of another request
		step       deadletter.Step
		generation int
		stands     entrustbus.Outcome // told only where the row has a reason
		refused    string
	}{
		"rejected":                          {rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeRejected, TrackingID: "t"}, step: deadletter.Submit, generation: 1},
		"failed":                            {rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeFailed}, step: deadletter.Submit, generation: 1},
		"failed, a wrong certificate":       {rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeFailed, TrackingID: "t", Serial: "ab"}, step: deadletter.Resubmit, generation: 1},
		"failed, the gateway has it":        {rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeFailed, TrackingID: "t"}, step: deadletter.Resubmit, generation: 1},
		"failed, a certificate at once":     {rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeFailed, Serial: "ab"}, step: deadletter.Resubmit, generation: 1},
		"failed revocation":                 {kind: revoke, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeFailed, Serial: "ab"}, step: deadletter.Submit, generation: 1},
		"second replay":                     {replay: 1, rec: ledger.Record{State: closed, Replay: 1, Outcome: entrustbus.OutcomeFailed}, step: deadletter.Submit, generation: 2},
		"expired, the gateway has it":       {rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeExpired, TrackingID: "t"}, step: deadletter.Resume, generation: 1},
		"unconfirmed, the gateway has it":   {rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeUnconfirmed, TrackingID: "t"}, step: deadletter.Resume, generation: 1},
		"cancelled before it expired":       {reason: deadletter.Expired, stands: entrustbus.OutcomeCancelled, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeCancelled, TrackingID: "t"}, step: deadletter.Resume, generation: 1},
		"rejected before it expired":        {reason: deadletter.Expired, stands: entrustbus.OutcomeRejected, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeRejected, TrackingID: "t"}, step: deadletter.Submit, generation: 1},
		"expired, as the letter says":       {reason: deadletter.Expired, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeExpired, TrackingID: "t"}, step: deadletter.Resume, generation: 1},
		"crashed, nobody knows":             {reason: deadletter.Crashed, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeUnconfirmed}, step: deadletter.Resubmit, generation: 1},
		"cancelled later":                   {reason: deadletter.Expired, stands: entrustbus.OutcomeCancelled, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeCancelled, TrackingID: "t"}, step: deadletter.Resume, generation: 1},
		"unconfirmed, nobody knows":         {rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeUnconfirmed}, step: deadletter.Resubmit, generation: 1},
		"unconfirmed revocation":            {kind: revoke, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeUnconfirmed}, step: deadletter.Submit, generation: 1},
		"expired track":                     {kind: track, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeExpired, TrackingID: "t"}, step: deadletter.Resume, generation: 1},
		"died often, not too often":         {deaths: deadletter.MaxDeaths - 1, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeFailed}, step: deadletter.Submit, generation: 1},
		"died too often":                    {deaths: deadletter.MaxDeaths, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeFailed}, refused: deadletter.RefusedLoop},
		"died too often, forced":            {deaths: deadletter.MaxDeaths, force: true, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeFailed}, step: deadletter.Submit, generation: 1},
		"issued":                            {force: true, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeIssued}, refused: deadletter.RefusedIssued},
		"revoked":                           {kind: revoke, force: true, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeRevoked}, refused: deadletter.RefusedRevoked},
		"open":                              {force: true, rec: ledger.Record{State: ledger.Open}, refused: deadletter.RefusedAlive},
		"parked":                            {force: true, rec: ledger.Record{State: ledger.Parked}, refused: deadletter.RefusedAlive},
		"a later generation lives":          {force: true, rec: ledger.Record{State: ledger.Parked, Replay: 1}, refused: deadletter.RefusedSuperseded},
		"a later generation died":           {force: true, rec: ledger.Record{State: closed, Replay: 2, Outcome: entrustbus.OutcomeFailed}, replay: 1, refused: deadletter.RefusedSuperseded},
		"the id is another request's":       {force: true, foreign: true, rec: ledger.Record{State: closed, Outcome: entrustbus.OutcomeFailed}, refused: deadletter.RefusedOther},
		"the ledger was restored to before": {replay: 3, rec: ledger.Record{State: closed, Replay: 1, Outcome: entrustbus.OutcomeFailed}, step: deadletter.Submit, generation: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind := tc.kind
			if kind == "" {
				kind = issue
			}
			id := strings.Map(func(r rune) rune {
				if r == ' ' || r == ',' || r == '\'' {
					return '-'
				}
				return r
			}, name)
			// A body that cannot be decoded is known to the ledger by its bytes.
			body := []byte("any bytes for " + name)
			sum := sha256.Sum256(body)
			if kind == issue {
				body = issueRequest(t, id)
				copy(sum[:], digest(t, body))
			}
			if tc.foreign {
				sum = sha256.Sum256([]byte("something else"))
			}
			tc.rec.Kind, tc.rec.Digest = kind, sum[:]
			key := ledger.Key{Producer: "web", ID: id}
			if err := b.ledger.Create(b.ctx, key, &tc.rec); err != nil {
				t.Fatal(err)
			}
			l := &deadletter.Letter{Reason: tc.reason, Key: key, Kind: kind, Replay: tc.replay, Deaths: tc.deaths,
				Request: ledger.Request{Subject: b.layout.Subjects().Request("web", kind), Body: body}}
			plan, err := b.replayer.Plan(b.ctx, l, tc.force)
			if tc.refused != "" {
				if word(err) != tc.refused {
					t.Errorf("got %v, want %s", err, tc.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if plan.Step != tc.step || plan.Generation != tc.generation {
				t.Errorf("got %s as generation %d, want %s as %d", plan.Step, plan.Generation, tc.step, tc.generation)
			}
			if tc.reason != "" && plan.Stands != tc.stands {
				t.Errorf("%q stands, want %q", plan.Stands, tc.stands)
			}
		})
	}
}

func TestPlanRefusesWhatCameFromNowhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, subject := range []string{"", "entrust.due.web.a", "entrust.request.web.renew", "other.request.web.issue"} {
		l := &deadletter.Letter{Key: ledger.Key{Producer: "web", ID: "a"}, Request: ledger.Request{Subject: subject}}
		if _, err := b.replayer.Plan(b.ctx, l, true); word(err) != deadletter.RefusedSubject {
			t.Errorf("%q: got %v, want %s", subject, err, deadletter.RefusedSubject)
		}
	}
}

// last is the newest request of the stream.
func (b *bench) last(t *testing.T) *streams.Message {
	t.Helper()
	m, err := streams.Last(b.ctx, b.js, b.layout.Requests, "entrust.request.>")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A letter that had no room for the whole of its request is read as what it is, and
// is not taken for the request.
func TestPlanRefusesWhatWasCut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := bytes.Repeat([]byte("x"), 1<<20)
	l := b.put(t, &deadletter.Letter{
		Reason: deadletter.Undecodable, Key: ledger.Key{Producer: "shop"},
		Request: ledger.Request{Subject: "entrust.request.shop.issue", Body: body},
	})
	if l.Length != len(body) || len(l.Request.Body) >= len(body) || len(l.Request.Header) != 0 {
		t.Fatalf("the letter holds %d of %d bytes and the headers %v", len(l.Request.Body), l.Length, l.Request.Header)
	}
	if _, err := b.replayer.Plan(b.ctx, l, true); word(err) != deadletter.RefusedCut {
		t.Errorf("planning its replay: %v, want %s", err, deadletter.RefusedCut)
	}
}

func TestReplayIsTheRequestAsItCame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := issueRequest(t, "a")
	key := ledger.Key{Producer: "web", ID: "a"}
	// The first publish is still in the stream's duplicate window.
	if _, err := b.js.PublishMsg(b.ctx, &nats.Msg{Subject: "entrust.request.web.issue", Data: body, Header: nats.Header{nats.MsgIdHdr: {"web.a"}}}); err != nil {
		t.Fatal(err)
	}
	if err := b.ledger.Create(b.ctx, key, &ledger.Record{
		State: ledger.Closed, Kind: entrustbus.KindIssue, Digest: digest(t, body), Replay: 1, Outcome: entrustbus.OutcomeRejected,
	}); err != nil {
		t.Fatal(err)
	}
	l := b.put(t, &deadletter.Letter{
		Reason: deadletter.Rejected, Key: key, Kind: entrustbus.KindIssue, Replay: 1, Deaths: 2, Error: "no",
		Request: ledger.Request{Subject: "entrust.request.web.issue", Body: body, Header: map[string][]string{
			"Nats-Msg-Id":                         {"web.a.1"},
			"Nats-Expected-Last-Subject-Sequence": {"0"}, // would refuse the replay
			"Nats-TTL":                            {"1s"},
			"Entrust-Replay":                      {"1"},
			"Entrust-Deaths":                      {"1"},
			"Content-Type":                        {"application/json"},
			"traceparent":                         {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
			"X-Own":                               {"1", "2"},
		}},
	})
	plan, err := b.replayer.Plan(b.ctx, l, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.replayer.Publish(b.ctx, plan); err != nil {
		t.Fatal(err)
	}
	m := b.last(t)
	if m.Sequence != 2 || m.Subject != "entrust.request.web.issue" || !bytes.Equal(m.Data, body) {
		t.Errorf("got message %d on %s with %d bytes", m.Sequence, m.Subject, len(m.Data))
	}
	want := nats.Header{
		"Nats-Msg-Id":    {"web.a.2"},
		"Entrust-Replay": {"2"},
		"Entrust-Deaths": {"2"},
		"Content-Type":   {"application/json"},
		"traceparent":    {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		"X-Own":          {"1", "2"},
		// Of this publish, not of the first.
		"Nats-Expected-Stream": {"ENTRUST_REQUESTS"},
	}
	if len(m.Header) != len(want) {
		t.Errorf("got headers %v, want %v", m.Header, want)
	}
	for name, values := range want {
		if got := m.Header[name]; strings.Join(got, "|") != strings.Join(values, "|") {
			t.Errorf("header %s is %q, want %q", name, got, values)
		}
	}

	// Twice by mistake: the worker has not looked at it yet.
	plan, err = b.replayer.Plan(b.ctx, l, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.replayer.Publish(b.ctx, plan); word(err) != deadletter.RefusedReplayed {
		t.Errorf("got %v, want %s", err, deadletter.RefusedReplayed)
	}
	if n := b.last(t).Sequence; n != 2 {
		t.Errorf("the stream has %d messages, want 2", n)
	}
}

// Without an id there is no order and no generation; the message id must not
// lend the request one.
func TestReplayOfWhatHasNoID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := b.put(t, &deadletter.Letter{Reason: deadletter.Undecodable, Key: ledger.Key{Producer: "web"}, Deaths: 1,
		Request: ledger.Request{Subject: "entrust.request.web.issue", Body: []byte("{"), Header: map[string][]string{"Entrust-Replay": {"x"}}}})
	plan, err := b.replayer.Plan(b.ctx, l, false)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Step != deadletter.Submit || plan.Generation != 0 {
		t.Errorf("got %s as generation %d, want submit as 0", plan.Step, plan.Generation)
	}
	if err := b.replayer.Publish(b.ctx, plan); err != nil {
		t.Fatal(err)
	}
	m := b.last(t)
	if id := m.Header.Get(nats.MsgIdHdr); id == "" || strings.Contains(id, ".") {
		t.Errorf("the message id is %q: want one, and without a dot", id)
	}
	if _, ok := m.Header[entrustbus.HeaderReplay]; ok || string(m.Data) != "{" {
		t.Errorf("got %v %q", m.Header, m.Data)
	}
	if err := b.replayer.Publish(b.ctx, plan); word(err) != deadletter.RefusedReplayed {
		t.Errorf("again: got %v, want %s", err, deadletter.RefusedReplayed)
	}
}

// Letters outlive ledger records.
func TestReplayOfWhatTheLedgerForgot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	result := func(t *testing.T, id string, outcome entrustbus.Outcome, replay int) {
		t.Helper()
		body, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, &entrustbus.Result{ID: id, Producer: "web", Kind: entrustbus.KindIssue, Outcome: outcome, Replay: replay})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.js.Publish(b.ctx, "entrust.result.web."+id, body); err != nil {
			t.Fatal(err)
		}
	}
	letter := func(t *testing.T, id string, reason deadletter.Reason, tracking string) *deadletter.Letter {
		t.Helper()
		return &deadletter.Letter{Reason: reason, Key: ledger.Key{Producer: "web", ID: id}, TrackingID: tracking, Request: ledger.Request{
			Subject: "entrust.request.web.issue", Body: issueRequest(t, id), Header: map[string][]string{"traceparent": {"00-1"}},
		}}
	}

	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		l := letter(t, "a", deadletter.Rejected, "")
		if _, err := b.replayer.Plan(b.ctx, l, false); word(err) != deadletter.RefusedForgotten {
			t.Errorf("got %v, want %s", err, deadletter.RefusedForgotten)
		}
		plan, err := b.replayer.Plan(b.ctx, l, true)
		if err != nil || plan.Step != deadletter.Resubmit || plan.Generation != 1 {
			t.Errorf("forced: got %+v, %v; want a resubmission", plan, err)
		}
	})
	t.Run("issued all the same", func(t *testing.T) {
		t.Parallel()
		result(t, "b", entrustbus.OutcomeIssued, 1)
		if _, err := b.replayer.Plan(b.ctx, letter(t, "b", deadletter.Rejected, ""), true); word(err) != deadletter.RefusedIssued {
			t.Errorf("got %v, want %s", err, deadletter.RefusedIssued)
		}
	})
	t.Run("a later result", func(t *testing.T) {
		t.Parallel()
		result(t, "c", entrustbus.OutcomeExpired, 2)
		if _, err := b.replayer.Plan(b.ctx, letter(t, "c", deadletter.Expired, "t"), true); word(err) != deadletter.RefusedSuperseded {
			t.Errorf("got %v, want %s", err, deadletter.RefusedSuperseded)
		}
	})
	t.Run("the gateway has it", func(t *testing.T) {
		t.Parallel()
		l := letter(t, "d", deadletter.Expired, "track-1")
		plan, err := b.replayer.Plan(b.ctx, l, false)
		if err != nil {
			t.Fatal(err)
		}
		if plan.Step != deadletter.Resume || plan.Subject() != "entrust.request.web.track" {
			t.Fatalf("got %s on %s, want a track request", plan.Step, plan.Subject())
		}
		if err := b.replayer.Publish(b.ctx, plan); err != nil {
			t.Fatal(err)
		}
		m, err := streams.Last(b.ctx, b.js, b.layout.Requests, "entrust.request.web.track")
		if err != nil {
			t.Fatal(err)
		}
		r, err := entrustbus.DecodeRequest(entrustbus.KindTrack, entrustbus.EncodingJSON, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		got := r.(*entrustbus.Track)
		if got.ID != "d" || got.TrackingID != "track-1" || got.CAID != "ca-1" || got.PollMaxWaitSeconds != 7200 || got.Labels["team"] != "web" || got.CSRPEM == "" {
			t.Errorf("got %+v", got)
		}
		if m.Header.Get(nats.MsgIdHdr) != "web.d.1" || m.Header.Get("Entrust-Replay") != "1" || m.Header.Get("traceparent") != "00-1" {
			t.Errorf("got headers %v", m.Header)
		}
	})
	t.Run("a revocation may be repeated", func(t *testing.T) {
		t.Parallel()
		l := letter(t, "e", deadletter.Unconfirmed, "")
		l.Request.Subject = "entrust.request.web.revoke"
		plan, err := b.replayer.Plan(b.ctx, l, false)
		if err != nil || plan.Step != deadletter.Submit {
			t.Errorf("got %+v, %v; want it submitted", plan, err)
		}
	})
}

func TestReplayIntoAFullStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	st, err := b.js.Stream(b.ctx, b.layout.Requests)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxMsgs = 1
	if _, err := b.js.UpdateStream(b.ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Publish(b.ctx, "entrust.request.web.issue", nil); err != nil {
		t.Fatal(err)
	}
	l := b.put(t, &deadletter.Letter{Reason: deadletter.Undecodable, Key: ledger.Key{Producer: "web"}, Request: ledger.Request{Subject: "entrust.request.web.issue"}})
	plan, err := b.replayer.Plan(b.ctx, l, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.replayer.Publish(b.ctx, plan); err == nil || word(err) != "" {
		t.Errorf("got %v, want the stream's error and no refusal", err)
	}
}
