// Package replay replays dead letters. It plans a replay, refuses a replay that a worker would
// refuse or ignore, and publishes the request again on the operator's subject.
package replay

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/results"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Plan is a replay that is allowed.
type Plan struct {
	Letter *deadletter.Letter
	Step   order.Replay
	// Generation is the order's next generation; 0 when the dead letter names no order.
	Generation int
	// Stands is the outcome in force when the dead letter's own outcome came too late and was
	// never published. It is "" when the dead letter shows how the order ended.
	Stands entrustbus.Outcome
	// CAID is the CA that the order used; "" when it is unknown.
	CAID string

	msg *nats.Msg
}

// Op is the gateway operation that the replay needs first.
func (p *Plan) Op() order.Op {
	switch {
	case p.Letter.Kind == entrustbus.KindRevoke:
		return order.OpRevoke
	case p.Step == order.ReplayResume:
		return order.OpPoll
	}
	return order.OpEnroll
}

// Subject is the operator's subject that the request is published on. An order that the ledger
// no longer has and the gateway holds becomes a track request.
func (p *Plan) Subject() string { return p.msg.Subject }

// Refusal says why a dead letter is not replayed.
type Refusal struct {
	// Word is one of the Refused words.
	Word string
	// Why is the reason for people, one line.
	Why string
}

// Error returns the word and the reason.
func (r *Refusal) Error() string { return r.Word + ": " + r.Why }

// The words of a Refusal, beside those of order.Refusal. A worker would ignore or refuse such a
// replay too; the refusal tells the operator before anything is published.
const (
	RefusedSuperseded = "superseded"      // a later generation is in force
	RefusedByHand     = "by-hand"         // it is an operator's request to end another order
	RefusedOther      = "other-request"   // the id belongs to a request with other content
	RefusedLoop       = "died-too-often"  // ended in a dead letter order.MaxDeaths times; force overrides
	RefusedForgotten  = "forgotten"       // it is unknown what became of the order since; force overrides
	RefusedSubject    = "unknown-subject" // the subject of the request is unknown
	RefusedCut        = "cut"             // the dead letter holds only a part of the request
)

// Replayer plans and publishes replays. It is safe for concurrent use once Operator and Reason
// are set.
type Replayer struct {
	js       jetstream.JetStream
	layout   streams.Layout
	subjects entrustbus.Subjects
	ledger   *ledger.Ledger
	results  *results.Store

	// Operator and Reason are written to the audit trail: who replays, and why. Set them before
	// the first Plan.
	Operator, Reason string
}

// New returns a replayer for the streams of layout. It does not touch the server.
func New(js jetstream.JetStream, layout streams.Layout) *Replayer {
	return &Replayer{
		js: js, layout: layout, subjects: layout.Subjects(),
		ledger: ledger.New(js, layout.Orders), results: results.New(js, layout.Results, layout.Subjects()),
	}
}

// Plan says what a replay of l would do. It changes nothing. A refused replay is a *Refusal.
// force also allows dead letters that ended too often, and orders that the ledger no longer
// has. No order that has its certificate, or that is not closed, is ever replayed.
func (r *Replayer) Plan(ctx context.Context, l *deadletter.Letter, force bool) (*Plan, error) {
	in, err := r.subjects.ParseIncoming(l.Request.Subject)
	producer, kind := in.Producer, in.Kind
	if err != nil {
		return nil, &Refusal{RefusedSubject, fmt.Sprintf("%q is not the subject of a request", l.Request.Subject)}
	}
	if kind == entrustbus.KindComplete || kind == entrustbus.KindResolve {
		return nil, &Refusal{RefusedByHand, fmt.Sprintf("it is an operator's %s request; send a new one", kind)}
	}
	if l.Length > 0 {
		return nil, &Refusal{RefusedCut, fmt.Sprintf("the dead letter holds %d of its %d bytes", len(l.Request.Body), l.Length)}
	}
	if l.Deaths >= order.MaxDeaths && !force {
		return nil, &Refusal{RefusedLoop, fmt.Sprintf("it ended in a dead letter %d times; fix the cause first", l.Deaths)}
	}
	p := &Plan{Letter: l, Step: order.ReplaySubmit}
	if l.Key.ID == "" {
		p.msg = r.message(l, producer, kind, 0)
		return p, nil
	}
	key := order.Key{Producer: producer, ID: l.Key.ID}
	rec, err := r.ledger.Get(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case rec.Phase == "":
		if err := r.forgotten(ctx, p, key, kind, force); err != nil {
			return nil, err
		}
	default:
		resolved, err := r.resolved(ctx, l, key, rec.Record)
		if err != nil {
			return nil, err
		}
		if p.Step, err = stepOf(l, kind, rec.Record, resolved); err != nil {
			return nil, err
		}
		p.Generation, p.Stands, p.CAID = max(rec.Generation, l.Generation)+1, overtaken(l, rec.Record), rec.CAID
	}
	if p.msg == nil {
		p.msg = r.message(l, producer, kind, p.Generation)
	}
	return p, nil
}

// Publish publishes the replay of a plan. It may be repeated: a worker recognises a second copy
// by its generation.
func (r *Replayer) Publish(ctx context.Context, p *Plan) error {
	if _, err := r.js.PublishMsg(ctx, p.msg, jetstream.WithExpectStream(r.layout.Requests)); err != nil {
		return fmt.Errorf("publishing the replay of dead letter %d: %w", p.Letter.Sequence, err)
	}
	return nil
}

// resolved reports whether an operator resolved the order after the dead letter. A resolved
// order gets no dead letter of its own, so this one may still be replayed.
func (r *Replayer) resolved(ctx context.Context, l *deadletter.Letter, key order.Key, rec order.Record) (bool, error) {
	if l.Generation >= rec.Generation || rec.Phase != order.Closed || rec.Outcome != entrustbus.OutcomeFailed {
		return false, nil
	}
	result, _, err := r.results.Last(ctx, key)
	if err != nil || result == nil || result.Error == nil {
		return false, err
	}
	return result.Replay == rec.Generation && result.Error.Code == order.CodeResolved, nil
}

// stepOf says what a worker will do with the next generation of an order, by the replay policy.
// It returns a *Refusal when the request of the dead letter has no next generation.
func stepOf(l *deadletter.Letter, kind entrustbus.Kind, rec order.Record, resolved bool) (order.Replay, error) {
	switch {
	case rec.Kind != kind || !sameRequest(l, kind, rec.Digest):
		return "", &Refusal{RefusedOther, fmt.Sprintf("id %q belongs to another %s request; have it sent under an id of its own", l.Key.ID, rec.Kind)}
	case l.Generation < rec.Generation && !resolved:
		return "", &Refusal{RefusedSuperseded, fmt.Sprintf("generation %d is in force, the dead letter is of %d", rec.Generation, l.Generation)}
	}
	step, refusal := order.ReplayOf(rec)
	switch refusal {
	case "":
		return step, nil
	case order.RefusedIssued:
		return "", &Refusal{string(refusal), "the order has its certificate"}
	case order.RefusedRevoked:
		return "", &Refusal{string(refusal), "the certificate is revoked"}
	}
	return "", &Refusal{string(refusal), fmt.Sprintf("its phase is %s", rec.Phase)}
}

// overtaken returns the outcome in force when the dead letter belongs to an end that came after
// another one. A dead letter is published before its result, and an earlier result may then
// block that one. It returns "" when the dead letter shows how the order ended.
func overtaken(l *deadletter.Letter, rec order.Record) entrustbus.Outcome {
	own := map[order.Reason][]entrustbus.Outcome{
		order.Rejected:    {entrustbus.OutcomeRejected, entrustbus.OutcomeFailed},
		order.Unconfirmed: {entrustbus.OutcomeUnconfirmed},
		order.Expired:     {entrustbus.OutcomeExpired},
		order.Crashed:     {entrustbus.OutcomeFailed, entrustbus.OutcomeUnconfirmed},
	}[l.Reason]
	if own == nil {
		own = []entrustbus.Outcome{entrustbus.OutcomeFailed}
	}
	if l.Generation != rec.Generation || rec.Phase != order.Closed || slices.Contains(own, rec.Outcome) {
		return ""
	}
	return rec.Outcome
}

// sameRequest reports whether digest can belong to the dead letter's request. A request that
// could not be decoded is recognised by its bytes. So is a request that crashed workers: no
// worker decoded it.
func sameRequest(l *deadletter.Letter, kind entrustbus.Kind, digest []byte) bool {
	sum := sha256.Sum256(l.Request.Body)
	if bytes.Equal(digest, sum[:]) || len(digest) != len(sum) {
		return true
	}
	enc, err := entrustbus.EncodingOf(l.Request.Get(entrustbus.HeaderContentType), l.Request.Body)
	if err != nil {
		return false
	}
	request, err := entrustbus.DecodeRequest(kind, enc, l.Request.Body)
	if err != nil {
		return false
	}
	content, err := entrustbus.Digest(request)
	return err == nil && bytes.Equal(digest, content[:])
}

// forgotten plans the replay of an order whose record the ledger removed or lost. A submission
// could enroll a second time, since a later generation may have been issued. A poll is safe
// when the gateway gave a tracking id.
func (r *Replayer) forgotten(ctx context.Context, p *Plan, key order.Key, kind entrustbus.Kind, force bool) error {
	l := p.Letter
	p.Generation = l.Generation + 1
	result, _, err := r.results.Last(ctx, key)
	if err != nil {
		return err
	}
	if result != nil {
		switch {
		case result.Outcome == entrustbus.OutcomeIssued:
			return &Refusal{string(order.RefusedIssued), "its result says so, though the ledger forgot it"}
		case result.Replay > l.Generation:
			return &Refusal{RefusedSuperseded, fmt.Sprintf("there is a result of generation %d, the dead letter is of %d", result.Replay, l.Generation)}
		}
		p.Generation = max(p.Generation, result.Replay+1)
	}
	if kind == entrustbus.KindTrack {
		p.Step = order.ReplayResume
	}
	if kind != entrustbus.KindIssue {
		return nil
	}
	if l.TrackingID != "" && (l.Reason == order.Expired || l.Reason == order.Unconfirmed || l.Reason == order.Crashed) {
		p.Step = order.ReplayResume
		p.msg, err = r.track(l, key, p.Generation)
		return err
	}
	if !force {
		return &Refusal{RefusedForgotten, "the ledger no longer has the order, which may have been issued since"}
	}
	p.Step = order.ReplayResubmit
	return nil
}

// track builds the track request that waits for the order of an issue request.
func (r *Replayer) track(l *deadletter.Letter, key order.Key, generation int) (*nats.Msg, error) {
	enc, err := entrustbus.EncodingOf(l.Request.Get(entrustbus.HeaderContentType), l.Request.Body)
	if err != nil {
		return nil, fmt.Errorf("reading dead letter %d: %w", l.Sequence, err)
	}
	request, err := entrustbus.DecodeRequest(entrustbus.KindIssue, enc, l.Request.Body)
	if err != nil {
		return nil, fmt.Errorf("reading dead letter %d: %w", l.Sequence, err)
	}
	issue := request.(*entrustbus.Issue) // the kind was given
	body, err := entrustbus.EncodeRequest(enc, &entrustbus.Track{
		ID: issue.ID, TrackingID: l.TrackingID, CSRPEM: issue.CSRPEM, CSRDER: issue.CSRDER,
		CAID: issue.CAID, PollMaxWaitSeconds: issue.PollMaxWaitSeconds, Labels: issue.Labels,
	})
	if err != nil {
		return nil, fmt.Errorf("building the track request of dead letter %d: %w", l.Sequence, err)
	}
	msg := r.message(l, key.Producer, entrustbus.KindTrack, generation)
	msg.Data = body
	for _, name := range []string{entrustbus.HeaderSignature, entrustbus.HeaderKeyID, entrustbus.HeaderSignedAt, order.HeaderRepeats} {
		msg.Header.Del(name) // the request is the operator's, not the producer's
	}
	return msg, nil
}

// message builds the request on the operator's subject: only there a generation counts. It has
// no message id. The stream would drop the message if another publisher had used that id
// before.
func (r *Replayer) message(l *deadletter.Letter, producer string, kind entrustbus.Kind, generation int) *nats.Msg {
	msg := &nats.Msg{Subject: r.subjects.Operator(producer, kind), Header: nats.Header{}, Data: l.Request.Body}
	for name, values := range l.Request.Header {
		switch canonical := textproto.CanonicalMIMEHeaderKey(name); {
		case canonical == entrustbus.HeaderReplay, canonical == order.HeaderDeaths,
			canonical == order.HeaderOperator, canonical == order.HeaderReason: // ignored from a producer
		case strings.HasPrefix(canonical, "Nats-"):
			// They instruct the server, and apply to the first publish only.
		default:
			msg.Header[name] = values
		}
	}
	if in, err := r.subjects.ParseIncoming(l.Request.Subject); err == nil && !in.Operator {
		msg.Header[order.HeaderRepeats] = []string{l.Request.Subject}
	}
	msg.Header[order.HeaderDeaths] = []string{strconv.Itoa(cmp.Or(l.Deaths, 1))}
	for name, value := range map[string]string{order.HeaderOperator: r.Operator, order.HeaderReason: r.Reason} {
		if value != "" {
			msg.Header[name] = []string{value}
		}
	}
	if generation > 0 {
		msg.Header[entrustbus.HeaderReplay] = []string{strconv.Itoa(generation)}
	}
	return msg
}
