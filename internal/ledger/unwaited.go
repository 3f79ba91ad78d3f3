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
	// unwaitedWindow is the most writes that may wait for an acknowledgement.
	unwaitedWindow = 256
	// unwaitedFor is how long an acknowledgement may take. After that the write counts as lost.
	unwaitedFor = 10 * time.Second
)

// Unwaited sends writes without waiting for their acknowledgements. It has a window of its own:
// a slow bucket delays no other write. Make one with Ledger.Unwaited. It is safe for concurrent
// use.
type Unwaited struct {
	nc    *nats.Conn
	inbox string // prefix of the reply subjects, with the last dot
	sub   *nats.Subscription

	mu      sync.Mutex
	sent    map[string]unwaited // key: last token of the reply subject
	next    uint64
	swept   time.Time
	failing sync.WaitGroup
}

type unwaited struct {
	at     time.Time
	failed func()
}

// Unwaited subscribes to the acknowledgements of these writes. Call Close when all are sent.
func (l *Ledger) Unwaited() (*Unwaited, error) {
	nc := l.js.Conn()
	u := &Unwaited{nc: nc, inbox: nc.NewInbox() + ".", sent: map[string]unwaited{}}
	var err error
	if u.sub, err = nc.Subscribe(u.inbox+"*", u.acknowledged); err != nil {
		return nil, fmt.Errorf("subscribing to acknowledgements of the ledger %s: %w", l.bucket, err)
	}
	return u, nil
}

// Send sends a write. It returns false when it sent nothing: the window is full, or the
// connection does not accept the message. The caller then calls Try. Where the server refuses
// the write or does not acknowledge it in time, Unwaited calls failed on a goroutine of its
// own. A later Write may then follow w.
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

// acknowledged handles the server's answer to one write.
func (u *Unwaited) acknowledged(m *nats.Msg) {
	token := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sent[token]
	delete(u.sent, token)
	// When no stream listens, the answer is a status without a body.
	if ok && (len(m.Data) == 0 || bytes.Contains(m.Data, []byte(`"error"`))) {
		u.fail(s)
	}
}

// sweep fails the writes that have waited longer than unwaitedFor. It runs at most once in half
// of that time. The caller holds u.mu.
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

// fail calls the failed function of a write. The caller holds u.mu.
func (u *Unwaited) fail(s unwaited) { u.failing.Go(s.failed) }

// Close waits until the server has acknowledged every write or its failed function has
// returned. Then it unsubscribes. When ctx ends first, Close returns its error: writes without
// an acknowledgement may be lost. Close still waits for running failed functions, so the caller
// must end those itself. Do not call Send after Close.
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
	_ = u.sub.Unsubscribe() // it fails on a closed connection, which has no subscriptions
	return err
}

func (u *Unwaited) waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.sent)
}
