package orders

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/results"
)

// ending is a verb that ends orders by an operator's request: cancel, complete or resolve.
// Without --yes it says what it would do.
type ending struct {
	terminal *terminal.Terminal
	word     string // "cancel"
	done     string // "cancelled"
	// plan says what the request for an order is, or why there is none.
	plan func(context.Context, *desk, order.Key, order.Stored) (*plan, error)

	producer, why     string
	yes, noWait, json bool
	giveUp            usage.Span
}

// plan is what would be done about one order.
type plan struct {
	request entrustbus.Request
	// answers is the order whose result answers the request, in this generation or a later one.
	answers    order.Key
	generation int
	// note is one line for people.
	note string
	// did reports whether a result is that of the request.
	did func(*entrustbus.Result) bool

	key   order.Key
	phase order.Phase
	after uint64 // the newest dead letter before the request
}

func (e *ending) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&e.producer, "producer", "", "`producer` of orders that are named by their id alone")
	flags.BoolVar(&e.yes, "yes", false, "do it; without this the verb says what it would do")
	flags.StringVar(&e.why, "why", "", "`text` for the audit trail")
	flags.BoolVar(&e.noWait, "no-wait", false, "do not wait for the worker's answer")
	flags.Var(&e.giveUp, "give-up-after", "do not wait longer than this")
	flags.BoolVar(&e.json, "json", false, "print one JSON object per line")
}

// run ends the orders that are named.
func (e *ending) run(cmd *cobra.Command, dial connect.Dialer, names []string) error {
	keys, err := Keys(names, e.producer)
	if err != nil {
		return err
	}
	if err := usage.NoneEmpty(cmd.Flags(), "give-up-after"); err != nil {
		return err
	}
	if e.noWait && e.giveUp > 0 {
		return usage.Errorf("--give-up-after and --no-wait exclude each other")
	}
	var stay []nats.Option
	if e.yes && !e.noWait {
		stay = connect.Staying(e.terminal.Err)
	}
	return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error { return e.end(ctx, newDesk(bus), keys) }, stay...)
}

// ended is what is printed of one order.
type ended struct {
	Producer   string             `json:"producer"`
	ID         string             `json:"id"`
	Phase      order.Phase        `json:"phase"` // before
	Action     string             `json:"action"`
	Request    string             `json:"request,omitempty"` // the id of the operator's request
	Outcome    entrustbus.Outcome `json:"outcome,omitempty"`
	Generation int                `json:"generation,omitempty"`
	Serial     string             `json:"serial,omitempty"`
	Note       string             `json:"note,omitempty"`
}

// end sends what is planned for each order, then waits for the answers. An order that is
// refused holds up no other.
func (e *ending) end(ctx context.Context, d *desk, keys []order.Key) error {
	out := e.terminal.List(e.json, "ORDER", "PHASE", "ACTION", "OUTCOME", "GENERATION", "SERIAL", "NOTE")
	var sent []*plan
	planned := 0
	err := each(e.terminal, keys, func(key order.Key, _ bool) error {
		p, err := e.begin(ctx, d, key)
		if err != nil {
			return err
		}
		planned++
		switch {
		case !e.yes:
			return e.list(out, p, "would "+e.word, nil, p.note)
		case e.noWait:
			return e.list(out, p, "sent", nil, p.note)
		}
		sent = append(sent, p)
		return nil
	})
	if len(sent) > 0 {
		err = errors.Join(err, e.await(ctx, d, out, sent))
	}
	err = out.Finish(err)
	if !e.yes && planned > 0 {
		e.terminal.Notef("nothing was done; pass --yes to %s", e.word)
	}
	return err
}

// begin plans what is done about one order, and with --yes sends it.
func (e *ending) begin(ctx context.Context, d *desk, key order.Key) (*plan, error) {
	look, cancel := d.Step(ctx)
	rec, err := d.record(look, key)
	cancel()
	if err != nil {
		return nil, err
	}
	p, err := e.plan(ctx, d, key, rec)
	if err != nil {
		return nil, err
	}
	p.key, p.phase = key, rec.Phase
	if !e.yes {
		return p, nil
	}
	step, cancel := d.Step(ctx)
	defer cancel()
	if p.after, err = d.letters.Newest(step); err != nil {
		return nil, err
	}
	return p, e.publish(step, d, p)
}

// publish sends an operator's request. It has no message id: one that a neighbour used before
// would swallow it. The worker knows a repeated request by its generation.
func (e *ending) publish(ctx context.Context, d *desk, p *plan) error {
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, p.request)
	if err != nil {
		return fmt.Errorf("encoding the request about %s: %w", p.key, err)
	}
	msg := &nats.Msg{Subject: d.Subjects.Operator(p.key.Producer, p.request.Kind()), Data: body, Header: nats.Header{
		entrustbus.HeaderContentType: {entrustbus.EncodingMsgpack.ContentType()},
		entrustbus.HeaderOrderID:     {p.request.OrderID()},
		order.HeaderOperator:         {e.terminal.Operator()},
	}}
	if e.why != "" {
		msg.Header[order.HeaderReason] = []string{terminal.Plain(e.why)}
	}
	if p.generation > 0 {
		msg.Header[entrustbus.HeaderReplay] = []string{strconv.Itoa(p.generation)}
	}
	_, err = d.JS.PublishMsg(ctx, msg, jetstream.WithExpectStream(d.Layout.Requests))
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		return usage.WithHint(fmt.Errorf("sending the request about %s: no stream takes %s: %w", p.key, msg.Subject, err),
			"entrust-worker check shows how to edit %s", d.Layout.Requests)
	}
	if err != nil {
		return fmt.Errorf("sending the request about %s: %w", p.key, err)
	}
	return nil
}

// await prints the answers. It returns a usage.Code where one is not what was asked for.
func (e *ending) await(ctx context.Context, d *desk, out *terminal.Listing, sent []*plan) error {
	if e.giveUp > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(e.giveUp))
		defer cancel()
	}
	bar := e.terminal.Progress(len(sent), "waiting")
	defer bar.End()
	var failed error
	for i, p := range sent {
		r, refusal, err := d.answer(ctx, p, bar.Still)
		if err != nil {
			if ctx.Err() == nil {
				return err
			}
			return usage.WithHint(fmt.Errorf("stopped waiting: %d of %d requests have no answer yet", len(sent)-i, len(sent)),
				"they go on; entrust-worker orders show %s", p.key)
		}
		bar.Add(1)
		action, note := e.done, p.note
		switch {
		case r == nil:
			action, note = "refused", refusal
		case !p.did(r):
			action, note = "refused", "the order ended in another way"
			if r.Error != nil {
				note = r.Error.Error()
			}
		}
		if action == "refused" {
			failed = usage.Code(usage.Failed) // it is in the list
		}
		if err := e.list(out, p, action, r, note); err != nil {
			return err
		}
	}
	return failed
}

// firstLook and lastLook bound how often an answer is looked for.
const (
	firstLook = 50 * time.Millisecond
	lastLook  = 2 * time.Second
)

// answer waits for what answers a request: the result, or the error of its dead letter.
func (d *desk) answer(ctx context.Context, p *plan, tick func()) (*entrustbus.Result, string, error) {
	store := results.New(d.JS, d.Layout.Results, d.Subjects)
	look := func() (*entrustbus.Result, string, error) {
		step, cancel := d.Step(ctx)
		defer cancel()
		r, _, err := store.Last(step, p.answers)
		if err != nil || r != nil && r.Replay >= p.generation {
			return r, "", err
		}
		for l, err := range d.letters.List(step, deadletter.Filter{Producer: p.key.Producer, Behind: p.after}) {
			if err == nil && l.Request.Get(entrustbus.HeaderOrderID) == p.request.OrderID() && l.Kind == p.request.Kind() {
				return nil, l.Why, nil
			}
		}
		return nil, "", nil
	}
	answered := false // then an error is an outage
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		r, refusal, err := look()
		switch {
		case err != nil && (!answered || d.IsClosed()):
			return nil, "", err
		case err == nil:
			answered = true
		}
		if r != nil || refusal != "" {
			return r, refusal, nil
		}
		tick()
		select {
		case <-ctx.Done():
			return nil, "", context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// list prints one order.
func (e *ending) list(out *terminal.Listing, p *plan, action string, r *entrustbus.Result, note string) error {
	v := ended{Producer: p.key.Producer, ID: p.key.ID, Phase: p.phase, Action: action, Generation: p.generation, Note: note}
	if e.yes {
		v.Request = p.request.OrderID()
	}
	if r != nil {
		v.Outcome, v.Serial = r.Outcome, r.Serial
	}
	generation := ""
	if v.Generation > 0 {
		generation = strconv.Itoa(v.Generation)
	}
	return out.Add(v, p.key.String(), string(v.Phase), v.Action, string(v.Outcome), generation, v.Serial, v.Note)
}
