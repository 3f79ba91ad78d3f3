package ledger

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// unwaitedWindow is how many writes may be without an acknowledgement.
	unwaitedWindow = 256
	// unwaitedFor is how long an acknowledgement may take before its write counts as lost.
	unwaitedFor = 10 * time.Second
)

// Unwaited sends writes whose acknowledgement no caller waits for. Its window is its own:
// a bucket that is slow with them delays no other write. Make one with Ledger.Unwaited; it
// is safe for concurrent use.
type Unwaited struct {
	nc    *nats.Conn
	inbox string // prefix of the reply subjects, with the last dot
	sub   *nats.Subscription

	mu      sync.Mutex
	sent    map[string]unwaited // by the last token of the reply subject
	next    uint64
	swept   time.Time
	failing sync.WaitGroup
}

type unwaited struct {
	at     time.Time
	failed func()
}

// Unwaited subscribes to the acknowledgements of writes that nothing waits for.
func (l *Ledger) Unwaited() (*Unwaited, error) {
	nc := l.js.Conn()
	u := &Unwaited{nc: nc, inbox: nc.NewInbox() + ".", sent: map[string]unwaited{}}
	var err error
	if u.sub, err = nc.Subscribe(u.inbox+"*", u.acknowledged); err != nil {
		return nil, fmt.Errorf("subscribing to acknowledgements of the ledger %s: %w", l.bucket, err)
	}
	return u, nil
}

// Send sends a write. It reports false where nothing was sent: the window is full, or the
// connection takes nothing; the caller then tries the write and waits. failed is called on a
// goroutine of its own where the write is refused, or not acknowledged in time; the write may
// be given to another one to follow.
func (u *Unwaited) Send(w *Write, failed func()) bool {
	data, err := w.record.Encode()
	if err != nil {
		return false
	}
	now := time.Now()
	u.mu.Lock()
	u.sweep(now)
	if len(u.sent) >= unwaitedWindow {
		u.mu.Unlock()
		return false
	}
	u.next++
	token := strconv.FormatUint(u.next, 36)
	u.sent[token] = unwaited{now, failed}
	u.mu.Unlock()

	msg, nonce := w.message(data)
	msg.Reply = u.inbox + token
	w.nonces = append(w.nonces, nonce)
	if err := u.nc.PublishMsg(msg); err != nil {
		u.mu.Lock()
		delete(u.sent, token)
		u.mu.Unlock()
		return false
	}
	return true
}

// acknowledged takes in the server's answer to one write.
func (u *Unwaited) acknowledged(m *nats.Msg) {
	token := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sent[token]
	delete(u.sent, token)
	// Without a stream that listens, the answer is a status without a body.
	if ok && (len(m.Data) == 0 || bytes.Contains(m.Data, []byte(`"error"`))) {
		u.fail(s)
	}
}

// sweep fails what has waited for too long, once in a while. Caller holds u.mu.
func (u *Unwaited) sweep(now time.Time) {
	if now.Sub(u.swept) < unwaitedFor/2 {
		return
	}
	u.swept = now
	for token, s := range u.sent {
		if now.Sub(s.at) > unwaitedFor {
			delete(u.sent, token)
			u.fail(s)
		}
	}
}

// fail hands a write back. Caller holds u.mu.
func (u *Unwaited) fail(s unwaited) { u.failing.Go(s.failed) }

// Close waits until every write is acknowledged, or was handed back and dealt with, and
// unsubscribes. Where ctx ends first, it returns its error: those writes may be lost. What
// was handed back is waited for all the same: it has to end with the caller's own time. No
// Send may follow.
func (u *Unwaited) Close(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var err error
	for u.waiting() > 0 && err == nil {
		select {
		case <-ctx.Done():
			err = fmt.Errorf("waiting for %d ledger records to be closed: %w", u.waiting(), context.Cause(ctx))
		case <-tick.C:
		}
	}
	u.failing.Wait()
	_ = u.sub.Unsubscribe() // the connection may be closed, and is then rid of it
	return err
}

func (u *Unwaited) waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.sent)
}
