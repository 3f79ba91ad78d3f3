package deadletter

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Step says what a replay makes of an order.
type Step string

// The steps.
const (
	Submit   Step = "submit"   // the gateway holds nothing of it: it is worked on as if it were new
	Resubmit Step = "resubmit" // the gateway may hold it, or something else that it made of it: there may be a second order, as the operator decides
	Resume   Step = "resume"   // the gateway holds it: it is asked for, never submitted again
)

// Plan is a replay that nothing speaks against.
type Plan struct {
	Letter *Letter
	Step   Step
	// Generation is the order's next one; 0 where the letter names no order.
	Generation int
	// Stands is the outcome in force where the letter's own came too late for it and
	// was never published; "" where the letter tells how the order ended.
	Stands entrustbus.Outcome

	msg *nats.Msg
}

// Subject is where the request goes: where it came from, unless the ledger
// forgot an order that the gateway holds, which then becomes a track request.
func (p *Plan) Subject() string { return p.msg.Subject }

// Refusal is why a letter is not replayed.
type Refusal struct {
	// Word is one of the Refused words.
	Word string
	// Why is one line for people.
	Why string
}

// Error is the word and the reason.
func (r *Refusal) Error() string { return r.Word + ": " + r.Why }

// The words of a Refusal. A worker would ignore or refuse such a replay as well;
// a refusal tells the operator before anything is published.
const (
	RefusedIssued     = "already-issued"   // the order has its certificate
	RefusedRevoked    = "already-revoked"  // the revocation was done
	RefusedAlive      = "still-alive"      // the order is being worked on, or waits for approval
	RefusedSuperseded = "superseded"       // a later generation is in force
	RefusedReplayed   = "already-replayed" // this very replay is on its way
	RefusedOther      = "other-request"    // the id belongs to a request of other content
	RefusedLoop       = "died-too-often"   // died MaxDeaths times; force overrides
	RefusedForgotten  = "forgotten"        // nothing tells what became of the order since; force overrides
	RefusedSubject    = "unknown-subject"  // nothing tells where the request came from
	RefusedCut        = "cut"              // too large for its letter to hold all of it
)

// Replayer brings dead letters back to life. It is safe for concurrent use.
type Replayer struct {
	js       jetstream.JetStream
	layout   streams.Layout
	subjects entrustbus.Subjects
	ledger   *ledger.Ledger
}

// NewReplayer returns a replayer for the streams of layout. It does not touch
// the server.
func NewReplayer(js jetstream.JetStream, layout streams.Layout) *Replayer {
	return &Replayer{js: js, layout: layout, subjects: layout.Subjects(), ledger: ledger.New(js, layout.Orders)}
}

// Plan says what a replay of l would do. It changes nothing. The error is a
// *Refusal where the replay must not be. With force, letters that died too often
// and orders that the ledger forgot are replayed too; no order that has its
// certificate, or that lives, ever is.
func (r *Replayer) Plan(ctx context.Context, l *Letter, force bool) (*Plan, error) {
	producer, kind, err := r.subjects.ParseRequest(l.Request.Subject)
	if err != nil {
		return nil, &Refusal{RefusedSubject, fmt.Sprintf("%q is not the subject of a request", l.Request.Subject)}
	}
	if l.Length > 0 {
		return nil, &Refusal{RefusedCut, fmt.Sprintf("the letter holds %d of its %d bytes", len(l.Request.Body), l.Length)}
	}
	if l.Deaths >= MaxDeaths && !force {
		return nil, &Refusal{RefusedLoop, fmt.Sprintf("it died %d times; mend the cause first", l.Deaths)}
	}
	p := &Plan{Letter: l, Step: Submit}
	if l.Key.ID == "" {
		// The message id must not look like one of the contract: it would lend
		// the request an id.
		p.msg = r.message(l, fmt.Sprintf("dead/%d/%d", l.Sequence, l.Deaths), 0)
		return p, nil
	}
	key := ledger.Key{Producer: producer, ID: l.Key.ID}
	rec, err := r.ledger.Get(ctx, key)
	switch {
	case errors.Is(err, ledger.ErrNoRecord):
		if err := r.forgotten(ctx, p, key, kind, force); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		if p.Step, err = stepOf(l, kind, rec); err != nil {
			return nil, err
		}
		p.Generation, p.Stands = max(rec.Replay, l.Replay)+1, overtaken(l, rec)
	}
	id := entrustbus.RequestMsgID(producer, key.ID, p.Generation)
	if p.msg == nil {
		p.msg = r.message(l, id, p.Generation)
	}
	return p, nil
}

// Publish does what the plan says. It returns a *Refusal when the same replay
// was published before.
func (r *Replayer) Publish(ctx context.Context, p *Plan) error {
	ack, err := r.js.PublishMsg(ctx, p.msg, jetstream.WithExpectStream(r.layout.Requests))
	switch {
	case err != nil:
		return fmt.Errorf("publishing the replay of dead letter %d: %w", p.Letter.Sequence, err)
	case ack.Duplicate:
		return &Refusal{RefusedReplayed, fmt.Sprintf("message %s was published a short while ago", p.msg.Header.Get(nats.MsgIdHdr))}
	}
	return nil
}

// stepOf says what a worker will do with the next generation of an order, in
// the words of its ledger record. It mirrors what the worker decides when the
// message arrives; the worker's word is the last.
func stepOf(l *Letter, kind entrustbus.Kind, rec *ledger.Record) (Step, error) {
	switch {
	case rec.Kind != kind || !sameRequest(l, kind, rec.Digest):
		return "", &Refusal{RefusedOther, fmt.Sprintf("id %q belongs to another %s request; have it sent under an id of its own", l.Key.ID, rec.Kind)}
	case l.Replay < rec.Replay:
		return "", &Refusal{RefusedSuperseded, fmt.Sprintf("generation %d is in force, the letter is of %d", rec.Replay, l.Replay)}
	case rec.State != ledger.Closed:
		return "", &Refusal{RefusedAlive, fmt.Sprintf("the ledger says %s", rec.State)}
	case rec.Outcome == entrustbus.OutcomeIssued:
		return "", &Refusal{RefusedIssued, "the order has its certificate"}
	case rec.Outcome == entrustbus.OutcomeRevoked:
		return "", &Refusal{RefusedRevoked, "the certificate is revoked"}
	case kind == entrustbus.KindTrack:
		return Resume, nil
	case kind != entrustbus.KindIssue:
		return Submit, nil // may be repeated at will
	}
	switch rec.Outcome {
	case entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed, entrustbus.OutcomeCancelled:
		if rec.TrackingID != "" {
			return Resume, nil
		}
	}
	if rec.Doubtful() {
		return Resubmit, nil
	}
	return Submit, nil
}

// overtaken returns the outcome that stands where the letter is of an end that came
// after it: a letter is published before its result, which an earlier one may keep
// out. It is "" where the letter tells how the order ended.
func overtaken(l *Letter, rec *ledger.Record) entrustbus.Outcome {
	own := map[Reason][]entrustbus.Outcome{
		Rejected:    {entrustbus.OutcomeRejected, entrustbus.OutcomeFailed},
		Unconfirmed: {entrustbus.OutcomeUnconfirmed},
		Expired:     {entrustbus.OutcomeExpired},
		Crashed:     {entrustbus.OutcomeFailed, entrustbus.OutcomeUnconfirmed},
	}[l.Reason]
	if own == nil {
		own = []entrustbus.Outcome{entrustbus.OutcomeFailed}
	}
	if l.Replay != rec.Replay || rec.State != ledger.Closed || slices.Contains(own, rec.Outcome) {
		return ""
	}
	return rec.Outcome
}

// sameRequest reports whether digest can be that of the letter's request. A
// request that could not be decoded is known by its bytes; one that workers
// died of was never looked at.
func sameRequest(l *Letter, kind entrustbus.Kind, digest []byte) bool {
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

// forgotten plans the replay of an order that the ledger no longer knows: its
// record was let go, or lost. Submitting it could enroll a second time what a
// later generation was issued since. Where the gateway named the order, asking
// for it is safe.
func (r *Replayer) forgotten(ctx context.Context, p *Plan, key ledger.Key, kind entrustbus.Kind, force bool) error {
	l := p.Letter
	p.Generation = l.Replay + 1
	result, err := r.lastResult(ctx, key)
	if err != nil {
		return err
	}
	if result != nil {
		switch {
		case result.Outcome == entrustbus.OutcomeIssued:
			return &Refusal{RefusedIssued, "its result says so, though the ledger forgot it"}
		case result.Replay > l.Replay:
			return &Refusal{RefusedSuperseded, fmt.Sprintf("there is a result of generation %d, the letter is of %d", result.Replay, l.Replay)}
		}
		p.Generation = max(p.Generation, result.Replay+1)
	}
	if kind == entrustbus.KindTrack {
		p.Step = Resume
	}
	if kind != entrustbus.KindIssue {
		return nil
	}
	if l.TrackingID != "" && (l.Reason == Expired || l.Reason == Unconfirmed || l.Reason == Crashed) {
		p.Step = Resume
		p.msg, err = r.track(l, key, p.Generation)
		return err
	}
	if !force {
		return &Refusal{RefusedForgotten, "the ledger no longer knows the order, which may have been issued since"}
	}
	p.Step = Resubmit
	return nil
}

// lastResult reads the newest result of an order, nil where there is none.
func (r *Replayer) lastResult(ctx context.Context, key ledger.Key) (*entrustbus.Result, error) {
	m, err := streams.Last(ctx, r.js, r.layout.Results, r.subjects.Result(key.Producer, key.ID))
	if errors.Is(err, streams.ErrNoMessage) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the result of %s: %w", key, err)
	}
	enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
	if err != nil {
		return nil, fmt.Errorf("reading the result of %s: %w", key, err)
	}
	result, err := entrustbus.DecodeResult(enc, m.Data)
	if err != nil {
		return nil, fmt.Errorf("reading the result of %s: %w", key, err)
	}
	return result, nil
}

// track makes the track request that waits for the order of an issue request.
func (r *Replayer) track(l *Letter, key ledger.Key, generation int) (*nats.Msg, error) {
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
		return nil, fmt.Errorf("making a track request of dead letter %d: %w", l.Sequence, err)
	}
	msg := r.message(l, entrustbus.RequestMsgID(key.Producer, key.ID, generation), generation)
	msg.Subject, msg.Data = r.subjects.Request(key.Producer, entrustbus.KindTrack), body
	return msg, nil
}

// message is the request as it came, under a message id of its own: the old one
// may still be in the duplicate window of the stream, which would swallow it.
func (r *Replayer) message(l *Letter, id string, generation int) *nats.Msg {
	msg := &nats.Msg{Subject: l.Request.Subject, Header: nats.Header{}, Data: l.Request.Body}
	for name, values := range l.Request.Header {
		switch canonical := textproto.CanonicalMIMEHeaderKey(name); {
		case canonical == entrustbus.HeaderReplay, canonical == HeaderDeaths:
		case strings.HasPrefix(canonical, "Nats-"):
			// Instructions to the server, for the first publish only.
		default:
			msg.Header[name] = values
		}
	}
	msg.Header[nats.MsgIdHdr] = []string{id}
	msg.Header[HeaderDeaths] = []string{strconv.Itoa(cmp.Or(l.Deaths, 1))}
	if generation > 0 {
		msg.Header[entrustbus.HeaderReplay] = []string{strconv.Itoa(generation)}
	}
	return msg
}
