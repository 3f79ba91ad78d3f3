package replay_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/replay"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// word is the word of a refusal, "" for none.
func word(err error) string {
	if r, ok := errors.AsType[*replay.Refusal](err); ok {
		return r.Word
	}
	return ""
}

// Each row is the ledger's record of the order when an operator replays its dead letter.
func TestPlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const (
		issue  = entrustbus.KindIssue
		revoke = entrustbus.KindRevoke
		track  = entrustbus.KindTrack
		closed = order.Closed
	)
	for name, tc := range map[string]struct {
		kind       entrustbus.Kind
		reason     order.Reason
		replay     int // generation of the dead letter
		deaths     int
		force      bool
		rec        order.Record
		other      bool            // the record is of another request
		recKind    entrustbus.Kind // of the record, when it differs from the dead letter's
		step       order.Replay
		generation int
		stands     entrustbus.Outcome // only in rows with a reason
		refused    string
	}{
		"rejected":                          {rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeRejected, TrackingID: "t"}, step: order.ReplaySubmit, generation: 1},
		"failed":                            {rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed}, step: order.ReplaySubmit, generation: 1},
		"failed, a wrong certificate":       {rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed, TrackingID: "t", Serial: "ab"}, step: order.ReplayResubmit, generation: 1},
		"failed, the gateway has it":        {rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed, TrackingID: "t"}, step: order.ReplayResubmit, generation: 1},
		"failed, a certificate at once":     {rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed, Serial: "ab"}, step: order.ReplayResubmit, generation: 1},
		"failed revocation":                 {kind: revoke, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed, Serial: "ab"}, step: order.ReplaySubmit, generation: 1},
		"second replay":                     {replay: 1, rec: order.Record{Phase: closed, Generation: 1, Outcome: entrustbus.OutcomeFailed}, step: order.ReplaySubmit, generation: 2},
		"expired, the gateway has it":       {rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeExpired, TrackingID: "t"}, step: order.ReplayResume, generation: 1},
		"unconfirmed, the gateway has it":   {rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeUnconfirmed, TrackingID: "t"}, step: order.ReplayResume, generation: 1},
		"cancelled before it expired":       {reason: order.Expired, stands: entrustbus.OutcomeCancelled, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeCancelled, TrackingID: "t"}, step: order.ReplayResume, generation: 1},
		"rejected before it expired":        {reason: order.Expired, stands: entrustbus.OutcomeRejected, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeRejected, TrackingID: "t"}, step: order.ReplaySubmit, generation: 1},
		"expired, as the letter says":       {reason: order.Expired, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeExpired, TrackingID: "t"}, step: order.ReplayResume, generation: 1},
		"crashed, indeterminate":            {reason: order.Crashed, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeUnconfirmed}, step: order.ReplayResubmit, generation: 1},
		"cancelled later":                   {reason: order.Expired, stands: entrustbus.OutcomeCancelled, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeCancelled, TrackingID: "t"}, step: order.ReplayResume, generation: 1},
		"unconfirmed, indeterminate":        {rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeUnconfirmed}, step: order.ReplayResubmit, generation: 1},
		"unconfirmed revocation":            {kind: revoke, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeUnconfirmed}, step: order.ReplaySubmit, generation: 1},
		"expired track":                     {kind: track, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeExpired, TrackingID: "t"}, step: order.ReplayResume, generation: 1},
		"died often, not too often":         {deaths: order.MaxDeaths - 1, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed}, step: order.ReplaySubmit, generation: 1},
		"died too often":                    {deaths: order.MaxDeaths, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed}, refused: replay.RefusedLoop},
		"died too often, forced":            {deaths: order.MaxDeaths, force: true, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed}, step: order.ReplaySubmit, generation: 1},
		"issued":                            {force: true, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeIssued}, refused: string(order.RefusedIssued)},
		"revoked":                           {kind: revoke, force: true, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeRevoked}, refused: string(order.RefusedRevoked)},
		"submitting":                        {force: true, rec: order.Record{Phase: order.Submitting}, refused: string(order.RefusedAlive)},
		"unaccepted":                        {force: true, rec: order.Record{Phase: order.Unaccepted}, refused: string(order.RefusedAlive)},
		"indeterminate":                     {force: true, rec: order.Record{Phase: order.Indeterminate}, refused: string(order.RefusedAlive)},
		"awaiting":                          {force: true, rec: order.Record{Phase: order.Awaiting}, refused: string(order.RefusedAlive)},
		"concluded, not published":          {force: true, rec: order.Record{Phase: order.Concluded, Conclusion: &order.Conclusion{Encoding: entrustbus.EncodingJSON, Result: &entrustbus.Result{ID: "a", Producer: "web", Kind: issue, Outcome: entrustbus.OutcomeFailed}}}, refused: string(order.RefusedAlive)},
		"cancelled before it was accepted":  {rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeCancelled}, step: order.ReplaySubmit, generation: 1},
		"failed cancellation":               {kind: entrustbus.KindCancel, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed}, step: order.ReplaySubmit, generation: 1},
		"of another kind":                   {kind: revoke, force: true, recKind: issue, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed}, refused: replay.RefusedOther},
		"rejected, a wrong certificate":     {reason: order.WrongCertificate, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed, Serial: "ab"}, step: order.ReplayResubmit, generation: 1},
		"a later generation lives":          {force: true, rec: order.Record{Phase: order.Awaiting, Generation: 1}, refused: replay.RefusedSuperseded},
		"a later generation died":           {force: true, rec: order.Record{Phase: closed, Generation: 2, Outcome: entrustbus.OutcomeFailed}, replay: 1, refused: replay.RefusedSuperseded},
		"the id is another request's":       {force: true, other: true, rec: order.Record{Phase: closed, Outcome: entrustbus.OutcomeFailed}, refused: replay.RefusedOther},
		"the ledger was restored to before": {replay: 3, rec: order.Record{Phase: closed, Generation: 1, Outcome: entrustbus.OutcomeFailed}, step: order.ReplaySubmit, generation: 4},
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
			// The ledger knows a body that cannot be decoded by its bytes.
			body := []byte("any bytes for " + name)
			sum := sha256.Sum256(body)
			if kind == issue {
				body = issueRequest(t, id)
				copy(sum[:], digest(t, body))
			}
			if tc.other {
				sum = sha256.Sum256([]byte("something else"))
			}
			tc.rec.Kind, tc.rec.Digest = cmp.Or(tc.recKind, kind), sum[:]
			key := order.Key{Producer: "web", ID: id}
			b.record(t, key, tc.rec)
			l := letter(order.Letter{Reason: tc.reason, Key: key, Kind: kind, Generation: tc.replay, Deaths: tc.deaths,
				Request: order.Message{Subject: b.layout.Subjects().Request("web", kind), Body: body}})
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
			// The same policy decides what a worker will do.
			if step, refusal := order.ReplayOf(tc.rec); plan.Step != step || refusal != "" {
				t.Errorf("got %s, the policy says %s (%s)", plan.Step, step, refusal)
			}
			if want := b.layout.Subjects().Operator("web", kind); plan.Subject() != want {
				t.Errorf("goes to %s, want %s", plan.Subject(), want)
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
		l := letter(order.Letter{Key: order.Key{Producer: "web", ID: "a"}, Request: order.Message{Subject: subject}})
		if _, err := b.replayer.Plan(b.ctx, l, true); word(err) != replay.RefusedSubject {
			t.Errorf("%q: got %v, want %s", subject, err, replay.RefusedSubject)
		}
	}
}

// A dead letter can be replayed after an operator resolved its order, but not after any other
// later end.
func TestReplayOfWhatWasResolved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := issueRequest(t, "a")
	key := order.Key{Producer: "web", ID: "a"}
	b.record(t, key, order.Record{Phase: order.Closed, Kind: entrustbus.KindIssue, Digest: digest(t, body), Generation: 1, Outcome: entrustbus.OutcomeFailed})
	l := b.put(t, order.Letter{
		Reason: order.Unconfirmed, Key: key, Kind: entrustbus.KindIssue, Deaths: 1,
		Request: order.Message{Subject: "entrust.request.web.issue", Body: body, Header: map[string][]string{"Content-Type": {"application/json"}}},
	})
	for _, code := range []string{"other", order.CodeResolved} {
		result, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, &entrustbus.Result{
			ID: "a", Producer: "web", Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeFailed, Replay: 1, Error: &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: code},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.js.Publish(b.ctx, "entrust.result.web.a", result); err != nil {
			t.Fatal(err)
		}
		plan, err := b.replayer.Plan(b.ctx, l, false)
		if code != order.CodeResolved {
			if word(err) != replay.RefusedSuperseded {
				t.Errorf("ended otherwise: got %v, want %s", err, replay.RefusedSuperseded)
			}
			continue
		}
		if err != nil || plan.Step != order.ReplaySubmit || plan.Generation != 2 {
			t.Errorf("resolved: got %+v, %v", plan, err)
		}
	}
}

// An operator's request that ends an order by hand is not replayed: the operator sends a new
// one.
func TestPlanRefusesWhatOperatorsSend(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, kind := range []string{"complete", "resolve"} {
		l := letter(order.Letter{Key: order.Key{Producer: "web", ID: "a"}, Request: order.Message{Subject: "entrust.operator.web." + kind}})
		if _, err := b.replayer.Plan(b.ctx, l, true); word(err) != replay.RefusedByHand {
			t.Errorf("%s: got %v, want %s", kind, err, replay.RefusedByHand)
		}
	}
}

// last is the newest message of an operator.
func (b *bench) last(t *testing.T) *streams.Message {
	t.Helper()
	m, err := streams.Last(b.ctx, b.js, b.layout.Requests, "entrust.operator.>")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A dead letter that holds only a part of its request is read as such, and is not replayed as
// the request.
func TestPlanRefusesWhatWasCut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := bytes.Repeat([]byte("x"), 1<<20)
	l := b.put(t, order.Letter{
		Reason: order.Undecodable, Key: order.Key{Producer: "shop"},
		Request: order.Message{Subject: "entrust.request.shop.issue", Body: body},
	})
	if l.Length != len(body) || len(l.Request.Body) >= len(body) || len(l.Request.Header) != 0 {
		t.Fatalf("the letter holds %d of %d bytes and the headers %v", len(l.Request.Body), l.Length, l.Request.Header)
	}
	if _, err := b.replayer.Plan(b.ctx, l, true); word(err) != replay.RefusedCut {
		t.Errorf("planning its replay: %v, want %s", err, replay.RefusedCut)
	}
}

func TestReplayIsTheRequestAsItCame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := issueRequest(t, "a")
	key := order.Key{Producer: "web", ID: "a"}
	// A message of another publisher, with an id that the replay might have had, is in the
	// stream's duplicate window.
	if _, err := b.js.PublishMsg(b.ctx, &nats.Msg{Subject: "entrust.request.shop.issue", Data: body, Header: nats.Header{nats.MsgIdHdr: {"web.a.2"}}}); err != nil {
		t.Fatal(err)
	}
	b.record(t, key, order.Record{
		Phase: order.Closed, Kind: entrustbus.KindIssue, Digest: digest(t, body), Generation: 1, Outcome: entrustbus.OutcomeRejected,
	})
	l := b.put(t, order.Letter{
		Reason: order.Rejected, Key: key, Kind: entrustbus.KindIssue, Generation: 1, Deaths: 2, Why: "no",
		Request: order.Message{Subject: "entrust.request.web.issue", Body: body, Header: map[string][]string{
			"Nats-Msg-Id":                         {"web.a.1"},
			"Nats-Expected-Last-Subject-Sequence": {"0"}, // would refuse the replay
			"Nats-TTL":                            {"1s"},
			"Entrust-Replay":                      {"1"},
			"Entrust-Deaths":                      {"1"},
			"Content-Type":                        {"application/json"},
			"traceparent":                         {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
			"X-Own":                               {"1", "2"},
			"Entrust-Signature":                   {"signed"},
			"Entrust-Repeats":                     {"nothing"},
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
	if m.Sequence != 2 || m.Subject != "entrust.operator.web.issue" || plan.Subject() != m.Subject || !bytes.Equal(m.Data, body) {
		t.Errorf("got message %d on %s with %d bytes", m.Sequence, m.Subject, len(m.Data))
	}
	want := nats.Header{
		"Entrust-Replay": {"2"},
		"Entrust-Deaths": {"2"},
		// The producer's signature must be valid for it.
		"Entrust-Repeats":   {"entrust.request.web.issue"},
		"Entrust-Signature": {"signed"},
		"Content-Type":      {"application/json"},
		"traceparent":       {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		"X-Own":             {"1", "2"},
		// They are those of this publish, not of the first.
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
}

// Without an id there is no order and no generation.
func TestReplayOfWhatHasNoID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := b.put(t, order.Letter{Reason: order.Undecodable, Key: order.Key{Producer: "web"}, Deaths: 1,
		Request: order.Message{Subject: "entrust.request.web.issue", Body: []byte("{"), Header: map[string][]string{"Entrust-Replay": {"x"}}}})
	plan, err := b.replayer.Plan(b.ctx, l, false)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Step != order.ReplaySubmit || plan.Generation != 0 {
		t.Errorf("got %s as generation %d, want submit as 0", plan.Step, plan.Generation)
	}
	if err := b.replayer.Publish(b.ctx, plan); err != nil {
		t.Fatal(err)
	}
	m := b.last(t)
	if id := m.Header.Get(nats.MsgIdHdr); id != "" {
		t.Errorf("the message id is %q", id)
	}
	if _, ok := m.Header[entrustbus.HeaderReplay]; ok || string(m.Data) != "{" {
		t.Errorf("got %v %q", m.Header, m.Data)
	}
}

// Dead letters last longer than ledger records.
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
	dead := func(t *testing.T, id string, reason order.Reason, tracking string) *deadletter.Letter {
		t.Helper()
		return letter(order.Letter{Reason: reason, Key: order.Key{Producer: "web", ID: id}, TrackingID: tracking, Request: order.Message{
			Subject: "entrust.request.web.issue", Body: issueRequest(t, id), Header: map[string][]string{"traceparent": {"00-1"}, entrustbus.HeaderSignature: {"signed"}},
		}})
	}

	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		l := dead(t, "a", order.Rejected, "")
		if _, err := b.replayer.Plan(b.ctx, l, false); word(err) != replay.RefusedForgotten {
			t.Errorf("got %v, want %s", err, replay.RefusedForgotten)
		}
		plan, err := b.replayer.Plan(b.ctx, l, true)
		if err != nil || plan.Step != order.ReplayResubmit || plan.Generation != 1 {
			t.Errorf("forced: got %+v, %v; want a resubmission", plan, err)
		}
	})
	t.Run("issued all the same", func(t *testing.T) {
		t.Parallel()
		result(t, "b", entrustbus.OutcomeIssued, 1)
		if _, err := b.replayer.Plan(b.ctx, dead(t, "b", order.Rejected, ""), true); word(err) != string(order.RefusedIssued) {
			t.Errorf("got %v, want %s", err, string(order.RefusedIssued))
		}
	})
	t.Run("a later result", func(t *testing.T) {
		t.Parallel()
		result(t, "c", entrustbus.OutcomeExpired, 2)
		if _, err := b.replayer.Plan(b.ctx, dead(t, "c", order.Expired, "t"), true); word(err) != replay.RefusedSuperseded {
			t.Errorf("got %v, want %s", err, replay.RefusedSuperseded)
		}
	})
	t.Run("the gateway has it", func(t *testing.T) {
		t.Parallel()
		l := dead(t, "d", order.Expired, "track-1")
		plan, err := b.replayer.Plan(b.ctx, l, false)
		if err != nil {
			t.Fatal(err)
		}
		if plan.Step != order.ReplayResume || plan.Subject() != "entrust.operator.web.track" {
			t.Fatalf("got %s on %s, want a track request", plan.Step, plan.Subject())
		}
		if err := b.replayer.Publish(b.ctx, plan); err != nil {
			t.Fatal(err)
		}
		m, err := streams.Last(b.ctx, b.js, b.layout.Requests, "entrust.operator.web.track")
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
		if m.Header.Get(nats.MsgIdHdr) != "" || m.Header.Get("Entrust-Replay") != "1" || m.Header.Get("traceparent") != "00-1" {
			t.Errorf("got headers %v", m.Header)
		}
		if m.Header.Get(order.HeaderRepeats) != "" || m.Header.Get(entrustbus.HeaderSignature) != "" {
			t.Errorf("an operator's own request counts as the producer's: %v", m.Header)
		}
	})
	t.Run("a revocation may be repeated", func(t *testing.T) {
		t.Parallel()
		l := dead(t, "e", order.Unconfirmed, "")
		l.Request.Subject = "entrust.request.web.revoke"
		plan, err := b.replayer.Plan(b.ctx, l, false)
		if err != nil || plan.Step != order.ReplaySubmit {
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
	l := b.put(t, order.Letter{Reason: order.Undecodable, Key: order.Key{Producer: "web"}, Request: order.Message{Subject: "entrust.request.web.issue"}})
	plan, err := b.replayer.Plan(b.ctx, l, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.replayer.Publish(b.ctx, plan); err == nil || word(err) != "" {
		t.Errorf("got %v, want the stream's error and no refusal", err)
	}
}

// A dead letter of a replay is replayed like the first one: an operator's subject is also a
// subject of a request.
func TestReplayOfAReplay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := issueRequest(t, "a")
	key := order.Key{Producer: "web", ID: "a"}
	b.record(t, key, order.Record{Phase: order.Closed, Kind: entrustbus.KindIssue, Digest: digest(t, body), Generation: 1, Outcome: entrustbus.OutcomeFailed})
	plan, err := b.replayer.Plan(b.ctx, letter(order.Letter{
		Reason: order.Rejected, Key: key, Kind: entrustbus.KindIssue, Generation: 1,
		Request: order.Message{Subject: "entrust.operator.web.issue", Body: body},
	}), false)
	if err != nil || plan.Generation != 2 || plan.Subject() != "entrust.operator.web.issue" {
		t.Errorf("got %+v, %v; want generation 2 on the operator's subject", plan, err)
	}
}

// An order whose record a newer worker wrote is left to newer workers.
func TestPlanOfANewerFormat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := issueRequest(t, "a")
	data, err := msgpack.Marshal(map[string]any{"format": order.Format + 1, "phase": "closed", "kind": "issue", "outcome": "failed", "digest": digest(t, body)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Publish(b.ctx, "$KV."+b.layout.Orders+".web.a", data); err != nil {
		t.Fatal(err)
	}
	plan, err := b.replayer.Plan(b.ctx, letter(order.Letter{
		Reason: order.Rejected, Key: order.Key{Producer: "web", ID: "a"}, Kind: entrustbus.KindIssue,
		Request: order.Message{Subject: "entrust.request.web.issue", Body: body},
	}), true)
	if !errors.Is(err, order.ErrNewerFormat) {
		t.Errorf("got %+v, %v; want ErrNewerFormat", plan, err)
	}
}
