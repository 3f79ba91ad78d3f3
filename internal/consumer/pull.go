package consumer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// fetchWait bounds one pull. It is short, so that a pull that was open when a breaker opened
// soon delivers no more messages. An idle lane costs one small request in that time.
const fetchWait = 2 * time.Second

// openPulls is the most open pulls of a lane.
const openPulls = 4

// pulls requests messages from one consumer, as many as the lane can start at once. It sends
// the next request while others are open. Each open pull has a subscription of its own, so
// every message and every status message of the server belongs to a known pull. No message
// waits in a buffer while its ack wait runs.
//
// It does the same as jetstream.Consumer.Messages, except in two cases:
//
//   - A message without a body whose publisher set a header Status. jetstream treats it as a
//     status message of the server, and it is never handled. Here the reply subject decides:
//     the server sets one on every message that must be acknowledged, and none on its status
//     messages.
//   - A message that is handed back while a pull is open. The server redelivers it to that
//     pull at once, as often as the pull has room. run therefore ends the pulls first, and
//     handles what has arrived.
type pulls struct {
	nc      *nats.Conn
	subject string         // of requests
	come    chan *nats.Msg // arrived messages and status messages

	mu sync.Mutex
	// All guarded by mu.
	all   [openPulls]pull
	free  int   // messages that the lane may request
	least int   // the smallest request while a pull is open
	err   error // of a pull; nil once it is reported
	// batch counts the messages that arrived since it was made and are not handled yet.
	batch *sync.WaitGroup

	changed chan struct{} // has a token when the condition of await may have changed
}

// pull is one request at a time.
type pull struct {
	sub  *nats.Subscription
	left int       // messages that the server may still deliver; 0: not open
	over time.Time // from then on the server has ended it, or is down
}

// newPulls subscribes to the messages of a lane's consumer.
func (w *Worker) newPulls(l *lane) (*pulls, error) {
	p := &pulls{
		nc: w.nc, subject: streams.APISubject(w.js, "CONSUMER.MSG.NEXT."+l.stream+"."+l.consumer),
		// Room for the requested messages, for those of overdue pulls, and for status messages.
		come: make(chan *nats.Msg, 4*l.messages()+64),
		free: l.messages(), least: max(1, l.messages()/openPulls), batch: new(sync.WaitGroup), changed: make(chan struct{}, 1),
	}
	for i := range p.all {
		var err error
		if p.all[i].sub, err = w.nc.ChanSubscribe(w.nc.NewInbox(), p.come); err != nil {
			return nil, fmt.Errorf("subscribing to the pulls of lane %s: %w", l.name, err)
		}
	}
	return p, nil
}

// run handles messages until stop is done. Then it ends the pulls at the server and handles the
// messages that have arrived. The server processes the end of a subscription before a later
// hand-back, so no such message returns here. begin starts a message. It calls done when the
// lane has room for another one, unless it returns an error.
func (p *pulls) run(stop context.Context, begin func(msg *nats.Msg, done func()) error) {
	for stop.Err() == nil {
		select {
		case <-stop.Done():
		case msg := <-p.come:
			p.receive(msg, begin)
		}
	}
	for i := range p.all {
		_ = p.all[i].sub.Unsubscribe() // it fails only on a closed connection
	}
	for len(p.come) > 0 {
		p.receive(<-p.come, begin)
	}
}

// receive handles a message, or a status message about a pull.
func (p *pulls) receive(msg *nats.Msg, begin func(*nats.Msg, func()) error) {
	p.mu.Lock()
	one := p.of(msg.Sub)
	if msg.Reply == "" {
		defer p.mu.Unlock()
		p.end(one)
		p.err = cmp.Or(statusError(msg.Header), p.err)
		p.signal()
		return
	}
	batch := p.batch
	batch.Add(1)
	if one.left > 0 {
		one.left--
	} else {
		p.free-- // its pull was given up, and its room was freed
	}
	p.signal()
	p.mu.Unlock()
	done := func(err error) {
		batch.Done()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free++
		p.err = cmp.Or(err, p.err)
		p.signal()
	}
	if err := begin(msg, func() { done(nil) }); err != nil {
		done(err)
	}
}

// of returns the pull of a subscription. The caller holds p.mu.
func (p *pulls) of(sub *nats.Subscription) *pull {
	for i := range p.all {
		if p.all[i].sub == sub {
			return &p.all[i]
		}
	}
	panic("consumer: a message of a subscription that is no pull's")
}

// end frees the room of messages that a pull will not deliver. The caller holds p.mu.
func (p *pulls) end(one *pull) {
	p.free += one.left
	one.left = 0
}

// asked returns how many messages open pulls may still deliver, and a pull that is not open, or
// nil. The caller holds p.mu.
func (p *pulls) asked() (asked int, idle *pull) {
	for i := range p.all {
		if one := &p.all[i]; one.left == 0 {
			idle = one
		} else {
			asked += one.left
		}
	}
	return asked, idle
}

// enough reports whether there is enough room for another request, and a pull for it. The
// caller holds p.mu.
func (p *pulls) enough() bool {
	asked, idle := p.asked()
	return idle != nil && (p.free >= p.least || p.free > 0 && asked == 0)
}

// signal wakes await. The caller holds p.mu.
func (p *pulls) signal() {
	if asked, _ := p.asked(); p.err == nil && asked > 0 && !p.enough() {
		return
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// room waits until the lane can start messages that it has not requested, and returns how many.
// It returns the error of a pull that failed since the last call. It returns 0 when stop is
// done.
func (p *pulls) room(stop context.Context) (n int, err error) {
	p.await(stop, func() bool {
		if err, p.err = p.err, nil; err == nil && p.enough() {
			n = p.free
		}
		return err != nil || n > 0
	})
	return n, err
}

// ask requests n messages, at most as many as room returned.
func (p *pulls) ask(n int) error {
	p.mu.Lock()
	_, one := p.asked()
	one.left, one.over = n, time.Now().Add(fetchWait+time.Second)
	p.free -= n
	p.mu.Unlock()
	request, err := json.Marshal(struct {
		Batch   int           `json:"batch"`
		Expires time.Duration `json:"expires"`
	}{n, fetchWait})
	if err == nil {
		err = p.nc.PublishRequest(p.subject, one.sub.Subject, request)
	}
	if err != nil {
		p.mu.Lock()
		p.end(one)
		p.mu.Unlock()
		return fmt.Errorf("pulling: %w", err)
	}
	return nil
}

// askAlone requests n messages. It waits until no pull is open and every message that arrived
// since is handled, or until stop is done.
func (p *pulls) askAlone(stop context.Context, n int) error {
	p.mu.Lock()
	batch := new(sync.WaitGroup)
	p.batch = batch
	p.mu.Unlock()
	if err := p.ask(n); err != nil {
		return err
	}
	p.await(stop, func() bool { asked, _ := p.asked(); return asked == 0 })
	handled := make(chan struct{})
	go func() { batch.Wait(); close(handled) }()
	select {
	case <-stop.Done():
	case <-handled:
	}
	return nil
}

// await returns when ready returns true, or stop is done. It calls ready with p.mu held. It
// gives up pulls that the server does not end, for example because it is down.
func (p *pulls) await(stop context.Context, ready func() bool) {
	overdue := time.NewTimer(fetchWait)
	defer overdue.Stop()
	for {
		p.mu.Lock()
		next := fetchWait
		for i := range p.all {
			one := &p.all[i]
			if left := time.Until(one.over); left <= 0 {
				p.end(one)
			} else if one.left > 0 {
				next = min(next, left)
			}
		}
		is := ready()
		p.mu.Unlock()
		if is {
			return
		}
		overdue.Reset(next)
		select {
		case <-stop.Done():
			return
		case <-p.changed:
		case <-overdue.C:
		}
	}
}

// statusError turns a status message about a pull into an error, nil when it only ends the
// pull.
func statusError(header nats.Header) error {
	status, why := header.Get("Status"), header.Get("Description")
	lower := strings.ToLower(why)
	switch {
	case status == "404", status == "408", strings.Contains(lower, "batch completed"):
		return nil
	case status == "503":
		return fmt.Errorf("pulling: %w", nats.ErrNoResponders)
	case strings.Contains(lower, "consumer deleted"):
		return fmt.Errorf("pulling: %w", jetstream.ErrConsumerDeleted)
	case strings.Contains(lower, "leadership change"):
		return fmt.Errorf("pulling: %w", jetstream.ErrConsumerLeadershipChanged)
	case strings.Contains(lower, "server shutdown"):
		return fmt.Errorf("pulling: %w", jetstream.ErrServerShutdown)
	}
	return fmt.Errorf("pulling: %w", errors.New(status+" "+why))
}
