package incident

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Headers of the requests, for the audit trail. Package order names them, too.
const (
	headerOperator = "Entrust-Operator"
	headerReason   = "Entrust-Reason"
)

const (
	// lookEvery is how often a waiting run reads results.
	lookEvery = 200 * time.Millisecond
	// publishTry bounds one try to publish, retryMax the wait between two tries.
	publishTry = 5 * time.Second
	retryMax   = 15 * time.Second
)

// Run revokes every serial of an incident. JS, Layout and Store are required.
type Run struct {
	JS     jetstream.JetStream
	Layout streams.Layout
	Store  *Store
	// Rate is the number of requests published per second; 0 for no limit.
	Rate float64
	// InFlight bounds the requests without a result: other revocations wait behind them.
	// Default 64.
	InFlight int
	// Progress receives the status about every 200 ms. May be nil.
	Progress func(Status)
	// Note receives a line when the run has to wait. May be nil.
	Note func(string)

	desk    *desk
	entries []Entry
	last    time.Time // when results were last read
}

// Do runs until every serial has a result, or ctx ends. After a crash at any point, call
// it again.
func (r *Run) Do(ctx context.Context, name string) (*Report, error) {
	i, _, err := r.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if r.entries, err = r.Store.Entries(ctx, i); err != nil {
		return nil, err
	}
	r.desk = newDesk(r.JS, r.Layout, i)
	if err := r.awaitEarlier(ctx); err != nil {
		return nil, err
	}
	// Only now has every request that left the stream a record.
	if err := r.desk.begin(ctx, r.entries); err != nil {
		return nil, err
	}
	limit := rate.NewLimiter(rate.Inf, 1)
	if r.Rate > 0 {
		limit.SetLimit(rate.Limit(r.Rate))
	}
	for _, e := range r.entries[i.Done:] {
		if r.desk.begun(e.ID()) {
			continue
		}
		if err := limit.Wait(ctx); err != nil {
			return nil, context.Cause(ctx)
		}
		if err := r.awaitRoom(ctx, i); err != nil {
			return nil, err
		}
		if err := r.publish(ctx, i, e); err != nil {
			return nil, err
		}
		r.desk.waiting[e.ID()] = true
	}
	for len(r.desk.waiting) > 0 {
		if err := r.pause(ctx, i); err != nil {
			return nil, err
		}
	}
	return r.end(ctx, name)
}

// awaitEarlier waits until no request of an earlier run is in the stream.
func (r *Run) awaitEarlier(ctx context.Context) error {
	for noted := false; ; noted = true {
		n, err := r.desk.queued(ctx)
		if err != nil || n == 0 {
			return err
		}
		if !noted && r.Note != nil {
			r.Note(fmt.Sprintf("%d requests of an earlier run are in the stream; waiting until the workers have handled them", n))
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// awaitRoom waits until fewer requests than InFlight are without a result.
func (r *Run) awaitRoom(ctx context.Context, i *Incident) error {
	if time.Since(r.last) > lookEvery {
		if err := r.look(ctx, i); err != nil {
			return err
		}
	}
	for len(r.desk.waiting) >= cmp.Or(r.InFlight, 64) {
		if err := r.pause(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) pause(ctx context.Context, i *Incident) error {
	if err := sleep(ctx, lookEvery); err != nil {
		return err
	}
	return r.look(ctx, i)
}

// look reads new results and reports the progress.
func (r *Run) look(ctx context.Context, i *Incident) error {
	r.last = time.Now()
	if err := r.desk.readResults(ctx); err != nil {
		return err
	}
	if r.Progress != nil {
		r.Progress(r.desk.status(i, r.entries))
	}
	return nil
}

// publish sends the request for one serial, and tries again until the stream has it.
func (r *Run) publish(ctx context.Context, i *Incident, e Entry) error {
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, i.request(e))
	if err != nil {
		return fmt.Errorf("encoding the request for serial %s: %w", e.Serial, err)
	}
	msg := &nats.Msg{
		Subject: r.desk.subjects.Operator(i.Producer(), entrustbus.KindRevoke), Data: body,
		Header: nats.Header{
			entrustbus.HeaderContentType: {entrustbus.EncodingMsgpack.ContentType()},
			entrustbus.HeaderOrderID:     {e.ID()},
			headerOperator:               {i.Operator},
			headerReason:                 {i.Why},
		},
	}
	for wait := lookEvery; ; wait = min(2*wait, retryMax) {
		try, cancel := context.WithTimeout(ctx, publishTry)
		_, err := r.JS.PublishMsg(try, msg, jetstream.WithExpectStream(r.Layout.Requests))
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case streams.IsRefused(err), errors.Is(err, nats.ErrConnectionClosed):
			return fmt.Errorf("publishing the request for serial %s: %w", e.Serial, err)
		}
		if r.Note != nil {
			r.Note(fmt.Sprintf("publishing the request for serial %s: %v; trying again", e.Serial, err))
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// end writes the report into the incident.
func (r *Run) end(ctx context.Context, name string) (*Report, error) {
	for {
		i, revision, err := r.Store.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		report := &Report{Status: r.desk.status(i, r.entries), Ended: time.Now().UTC()}
		i.Done, i.Report = len(r.entries), report
		err = r.Store.update(ctx, i, revision)
		if err == nil {
			return report, nil
		}
		if !errors.Is(err, ErrChanged) {
			return nil, fmt.Errorf("writing the report of incident %s: %w", name, err)
		}
	}
}

// sleep waits for d. If ctx ends first, it returns the cause of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
