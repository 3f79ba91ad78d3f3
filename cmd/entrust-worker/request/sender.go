package request

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// publishing is how many requests are on their way to the stream at once.
const publishing = 64

// sending says how requests are sent and what is done with their results. The zero value
// publishes MessagePack and does not wait.
type sending struct {
	Encoding entrustbus.Encoding
	Wait     bool
	GiveUp   usage.Span // how long to wait at most; 0: until the result comes
	JSON     bool

	sign *entrustbus.SigningKey // nil: they are not signed
	out  string                 // folder for certificates, "" for none
}

// parcel is one request on its way.
type parcel struct {
	producer, source string
	// file is what its certificate is called in the folder, less the ending. "": its id.
	file    string
	request entrustbus.Request
	receipt *entrustbus.Receipt // nil: not known to be stored
	result  *entrustbus.Result
}

// sender publishes requests and waits for their results. It is not safe for concurrent
// use.
type sender struct {
	terminal *terminal.Terminal
	how      sending
	bus      *connect.Bus
	parcels  []*parcel
}

// newSender makes a sender without requests.
func newSender(t *terminal.Terminal, how sending) *sender { return &sender{terminal: t, how: how} }

// add takes a request that is valid. source is what people call it.
func (s *sender) add(producer, source string, r entrustbus.Request) *parcel {
	p := &parcel{producer: producer, source: source, request: r}
	s.parcels = append(s.parcels, p)
	return p
}

// run connects, sends, and waits if it is to: over any number of reconnects then.
func (s *sender) run(cmd *cobra.Command, dial connect.Dialer) error {
	if err := s.prepareOut(); err != nil {
		return err
	}
	var stay []nats.Option
	if s.how.Wait {
		stay = connect.Staying(s.terminal.Err)
	}
	return dial.Work(cmd, s.send, stay...)
}

// client makes the client of a producer. One is cheap, and holds nothing.
func (s *sender) client(producer string) (*entrustbus.Client, error) {
	return entrustbus.New(s.bus.Conn, entrustbus.ClientConfig{
		Producer: producer, Encoding: s.how.Encoding, Subjects: s.bus.Subjects,
		ResultStream: s.bus.Layout.Results, LedgerBucket: s.bus.Layout.Orders, JetStream: s.bus.JS,
		Sign: s.how.sign,
	})
}

// send publishes everything, then waits for the results if it is to.
func (s *sender) send(ctx context.Context, bus *connect.Bus) error {
	s.bus = bus
	err := s.publish(ctx)
	if err != nil {
		stored := 0
		for _, p := range s.parcels {
			if p.receipt != nil {
				stored++
			}
		}
		if stored > 0 {
			err = fmt.Errorf("%w (%d of %d requests are published)", err, stored, len(s.parcels))
		}
	}
	if !s.how.Wait || err != nil {
		return errors.Join(s.listReceipts(), explainSend(err))
	}
	return s.await(ctx)
}

// explainSend adds the likely fix to why a request was not stored.
func explainSend(err error) error {
	switch {
	case errors.Is(err, entrustbus.ErrNoStream):
		return usage.WithHint(err, "entrust-worker provision creates the streams; --streams-prefix must be that of the workers")
	case errors.Is(err, entrustbus.ErrStreamFull):
		return usage.WithHint(err, "the workers must catch up first; try again later")
	case errors.Is(err, entrustbus.ErrOtherContent):
		return usage.WithHint(err, "choose another --id, or use the same flags as the first time")
	}
	return err
}

func (s *sender) publish(ctx context.Context) error {
	bar := s.terminal.Progress(len(s.parcels), "publishing")
	defer bar.End()
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(publishing)
	for _, p := range s.parcels {
		all.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			c, err := s.client(p.producer)
			if err != nil {
				return err
			}
			receipt, err := c.Submit(ctx, p.request)
			if err != nil {
				return err
			}
			p.receipt = &receipt
			bar.Add(1)
			return nil
		})
	}
	return all.Wait()
}

// published is what is printed of a request that was stored.
type published struct {
	Producer  string          `json:"producer"`
	ID        string          `json:"id"`
	Kind      entrustbus.Kind `json:"kind"`
	Source    string          `json:"source"`
	Sequence  uint64          `json:"sequence"`
	Duplicate bool            `json:"duplicate"`
}

func (s *sender) listReceipts() error {
	out := s.terminal.List(s.how.JSON, "ORDER", "KIND", "STATUS", "SOURCE")
	if !slices.ContainsFunc(s.parcels, func(p *parcel) bool { return p.receipt != nil }) {
		return nil // the error says so
	}
	for _, p := range s.parcels {
		if p.receipt == nil {
			continue
		}
		status := "published"
		if p.receipt.Duplicate {
			status = "duplicate"
		}
		id, kind := p.request.OrderID(), p.request.Kind()
		v := published{p.producer, id, kind, p.source, p.receipt.Sequence, p.receipt.Duplicate}
		if err := out.Add(v, p.producer+"."+id, string(kind), status, p.source); err != nil {
			return err
		}
	}
	return out.End()
}

// await prints results in the order in which they come.
func (s *sender) await(ctx context.Context) error {
	if s.how.GiveUp > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(s.how.GiveUp))
		defer cancel()
	}
	bar := s.terminal.Progress(len(s.parcels), "waiting")
	defer bar.End()
	done := make(chan *parcel)
	stop := make(chan struct{}) // printing ended early
	defer close(stop)
	var waiting sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for _, p := range s.parcels {
		waiting.Go(func() {
			c, err := s.client(p.producer)
			if err == nil {
				p.result, err = c.Wait(ctx, p.request.OrderID())
			}
			if err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
				return
			}
			select {
			case done <- p:
			case <-stop:
			}
		})
	}
	go func() { waiting.Wait(); close(done) }()

	out := s.terminal.List(s.how.JSON, "ORDER", "KIND", "OUTCOME", "SERIAL", "NOT AFTER", "ERROR", "SOURCE")
	missing, wrong := len(s.parcels), 0
	var others []error
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for p := range ticking(done, second.C, bar.Still) {
		missing--
		if s.foreign(ctx, p) {
			others = append(others, fmt.Errorf("id %q belongs to another request; the result is that request's", p.request.OrderID()))
			bar.Add(1)
			continue
		}
		if !p.succeeded() {
			wrong++
		}
		file, err := s.keep(p)
		if err != nil {
			return err
		}
		if err := p.list(out, file); err != nil {
			return err
		}
		bar.Add(1)
	}
	bar.End()
	if out.Begun() || missing == 0 && len(others) == 0 {
		if err := out.End(); err != nil {
			return err
		}
	}
	switch {
	case len(others) > 0:
		return usage.WithHint(errors.Join(others...), "choose another --id, or leave it out")
	case missing > 0 && ctx.Err() != nil:
		return usage.WithHint(fmt.Errorf("stopped waiting: %d of %d requests have no result yet", missing, len(s.parcels)), "they go on; %s", s.whereTo())
	case missing > 0:
		return failed
	case wrong > 0:
		return usage.Code(usage.Failed) // each was reported
	}
	return nil
}

// ticking yields what comes until the channel is closed, and does tick in between.
func ticking[T any](come <-chan T, ticks <-chan time.Time, tick func()) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			select {
			case v, ok := <-come:
				if !ok || !yield(v) {
					return
				}
			case <-ticks:
				tick()
			}
		}
	}
}

// whereTo names what shows how the requests go on.
func (s *sender) whereTo() string {
	first := s.parcels[0]
	if len(s.parcels) == 1 {
		return "entrust-worker orders show " + first.producer + "." + first.request.OrderID()
	}
	return "entrust-worker orders ls --producer " + first.producer
}

// list prints the result: as JSON just as the contract has it, with where the request was
// read and what was written of the result.
func (p *parcel) list(out *terminal.Listing, file string) error {
	r := p.result
	body, err := entrustbus.EncodeResult(entrustbus.EncodingJSON, r)
	if err == nil {
		var more []byte
		more, err = json.Marshal(struct {
			Source string `json:"source"`
			File   string `json:"file,omitempty"`
		}{p.source, file})
		body = append(append(bytes.TrimSuffix(body, []byte("}")), ','), more[1:]...)
	}
	if err != nil {
		return fmt.Errorf("encoding the result of %s: %w", r.ID, err)
	}
	why := ""
	if r.Error != nil {
		why = r.Error.Error()
	}
	return out.Add(json.RawMessage(body), r.Producer+"."+r.ID, string(r.Kind), string(r.Outcome), r.Serial, out.Date(r.NotAfter), why, p.source)
}
