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

// fetchWait bounds one pull. It is short, so that one which stood when a breaker opened
// soon brings nothing more. An idle lane costs one small request in that time.
const fetchWait = 2 * time.Second

// openPulls is how many pulls of a lane may be open at once.
const openPulls = 4

// pulls asks one consumer for messages: for as many as the lane can start at once, with the
// next request sent while others are open. Each pull that is open has a standing
// subscription to itself, so that every message and every word of the server is known to be
// of one. No message waits in a buffer while its ack wait runs.
//
// It does what jetstream.Consumer.Messages does, but for two things. To that, a
// message without a body whose publisher sent a header Status is the server's
// word: it would never be handled. Here the reply subject tells: the server puts one on every
// message that is to be acknowledged, and none on its own word. And a message that is handed
// back while a pull stands comes to it again, at once, as often as the pull has room: run
// ends the pulls first, and takes what had come by then.
type pulls struct {
	nc      *nats.Conn
	subject string // of requests
	come    chan *nats.Msg

	mu sync.Mutex
	// All guarded by mu.
	all   [openPulls]pull
	free  int   // messages that the lane may ask for
	least int   // for so many it asks while a pull is open
	err   error // of a pull, nil after it was reported
	// batch counts what came since it was made and is not handled.
	batch *sync.WaitGroup

	changed chan struct{} // has a token when a caller of await may have something to do
}

// pull is one request at a time.
type pull struct {
	sub  *nats.Subscription
	left int       // messages that it may bring; 0: it is not open
	over time.Time // when the server has ended it, or is gone
}

// newPulls subscribes to what the consumer of a lane will bring.
func (w *Worker) newPulls(l *lane) (*pulls, error) {
	p := &pulls{
		nc: w.nc, subject: streams.APISubject(w.js, "CONSUMER.MSG.NEXT."+l.stream+"."+l.consumer),
		// Room for what is asked for, for what overdue pulls bring, and for the server's words.
		come: make(chan *nats.Msg, 4*l.messages()+64),
		free: l.messages(), least: max(1, l.messages()/openPulls), batch: new(sync.WaitGroup), changed: make(chan struct{}, 1),
	}
	for i := range p.all {
		var err error
		if p.all[i].sub, err = w.nc.ChanSubscribe(w.nc.NewInbox(), p.come); err != nil {
			return nil, fmt.Errorf("subscribing to what lane %s pulls: %w", l.name, err)
		}
	}
	return p, nil
}

// run takes in what comes until stop is done, then ends the pulls at the server and takes in
// what had come by then. The server takes the end of the interest in before what is handed
// back, so that none of it comes here again. begin starts a message; it calls done when the
// lane has room for another one, unless it returns an error.
func (p *pulls) run(stop context.Context, begin func(msg *nats.Msg, done func()) error) {
	for stop.Err() == nil {
		select {
		case <-stop.Done():
		case msg := <-p.come:
			p.take(msg, begin)
		}
	}
	for i := range p.all {
		_ = p.all[i].sub.Unsubscribe() // nothing is left to be done about its error
	}
	for len(p.come) > 0 {
		p.take(<-p.come, begin)
	}
}

// take takes in a message, or the server's word about a pull.
func (p *pulls) take(msg *nats.Msg, begin func(*nats.Msg, func()) error) {
	p.mu.Lock()
	one := p.of(msg.Sub)
	if msg.Reply == "" {
		defer p.mu.Unlock()
		p.end(one)
		p.err = cmp.Or(said(msg.Header), p.err)
		p.signal()
		return
	}
	batch := p.batch
	batch.Add(1)
	if one.left > 0 {
		one.left--
	} else {
		p.free-- // it was given up, and its room with it
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

// of is the pull of a subscription. Caller holds p.mu.
func (p *pulls) of(sub *nats.Subscription) *pull {
	for i := range p.all {
		if p.all[i].sub == sub {
			return &p.all[i]
		}
	}
	panic("consumer: a message of a subscription that is no pull's")
}

// end takes back what a pull can bring no more. Caller holds p.mu.
func (p *pulls) end(one *pull) {
	p.free += one.left
	one.left = 0
}

// asked is how many messages open pulls may bring, idle a pull that is not open, nil where
// all are. Caller holds p.mu.
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

// enough reports whether the next pull can be sent and is worth its request. Caller holds
// p.mu.
func (p *pulls) enough() bool {
	asked, idle := p.asked()
	return idle != nil && (p.free >= p.least || p.free > 0 && asked == 0)
}

// signal wakes what awaits. Caller holds p.mu.
func (p *pulls) signal() {
	if asked, _ := p.asked(); p.err == nil && asked > 0 && !p.enough() {
		return
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// room waits until the lane can start messages that it has not asked for, and returns how
// many. It returns the error of a pull that ended with one since, and 0 when stop is done.
func (p *pulls) room(stop context.Context) (n int, err error) {
	p.await(stop, func() bool {
		if err, p.err = p.err, nil; err == nil && p.enough() {
			n = p.free
		}
		return err != nil || n > 0
	})
	return n, err
}

// ask sends a request for n messages, as many as room returned at most.
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

// askAlone asks for n messages, and waits until no pull is open and everything that came
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

// await returns when ready says so, which is called with p.mu held, or stop is done. It
// gives pulls up that the server does not end, as one that is gone.
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

// said turns the server's word about a pull into an error, nil where it only
// ends it.
func said(header nats.Header) error {
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
