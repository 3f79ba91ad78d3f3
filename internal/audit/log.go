package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// batchMax is how many records the writer publishes at once.
	batchMax = 256
	// answerWait is how long the stream may take to acknowledge a batch.
	answerWait = 5 * time.Second
	// tick is how often the writer checks whether a day, or an hour of denials, has
	// passed.
	tick = time.Minute
	// retryFirst and retryMax bound the wait between two tries.
	retryFirst, retryMax = 100 * time.Millisecond, 15 * time.Second
)

// Config configures a Log. Key, Policy, Blocked and Token are optional.
type Config struct {
	JS       jetstream.JetStream
	Stream   string
	Subjects entrustbus.Subjects
	Chain    string // name of the chain, new at each start of a worker
	Key      *Key   // signs heads
	// Token is the last subject token of records that concern no producer. Default
	// OfWorker.
	Token string
	// Now returns the server's time.
	Now func() time.Time
	// Policy returns the digest of the policy in force, "" without a policy.
	Policy func() string
	// Blocked is called with true when the stream takes no records, and with false when
	// it does again.
	Blocked func(bool)
	Log     *slog.Logger
}

// Log writes the chain of one worker. Make one with New, and call Run once. Append and
// Wait are safe for concurrent use.
type Log struct {
	Config
	chain   *Chain
	waiting chan *entry
	denials denials
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when Run is over

	mu      sync.Mutex
	open    chan struct{} // closed while records are taken
	blocked atomic.Bool
	day     time.Time // of the last head
}

// entry is one record on its way to the stream.
type entry struct {
	record *Record
	id     string          // message id
	ctx    context.Context // of the caller that waits
	stored chan struct{}

	msg    *nats.Msg
	number uint64
	seq    uint64 // stream sequence; 0 until stored
}

// New returns a log without records. It takes no records until Run has written the head
// of the start.
func New(cfg Config) *Log {
	cfg.Token = cmp.Or(cfg.Token, OfWorker)
	l := &Log{
		Config: cfg, chain: NewChain(cfg.Chain), waiting: make(chan *entry, batchMax),
		stop: make(chan struct{}), done: make(chan struct{}), open: make(chan struct{}),
	}
	l.blocked.Store(true)
	return l
}

// Wait returns when the stream takes records, as far as the writer knows. If ctx ends
// first, it returns the cause of ctx.
func (l *Log) Wait(ctx context.Context) error {
	for l.blocked.Load() {
		l.mu.Lock()
		open := l.open
		l.mu.Unlock()
		select {
		case <-open:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Append writes a record and returns when it is stored. id is the same for a repetition
// of the record and for no other record. Append gives up only when ctx ends; the record
// may then be stored all the same. A producer's denials beyond denialsAlone an hour are
// counted: one record at the end of the hour sums them up.
func (l *Log) Append(ctx context.Context, id string, r *Record) error {
	if r.Time.IsZero() {
		r.Time = l.Now().UTC()
	}
	if r.Decision == DecisionDenied && !l.denials.admit(r) {
		return nil
	}
	e := &entry{record: r, id: id, ctx: ctx, stored: make(chan struct{})}
	select {
	case l.waiting <- e:
	case <-l.done:
		return errors.New("writing an audit record: the log is closed")
	case <-ctx.Done():
		return fmt.Errorf("writing an audit record: %w", context.Cause(ctx))
	}
	select {
	case <-e.stored:
		return nil
	case <-l.done:
		select {
		case <-e.stored:
			return nil
		default:
			return errors.New("writing an audit record: the log is closed")
		}
	case <-ctx.Done():
		return fmt.Errorf("writing an audit record: %w", context.Cause(ctx))
	}
}

// Close writes the head of the stop and ends Run. It returns an error if ctx ends first.
// Do not call Append after Close.
func (l *Log) Close(ctx context.Context) error {
	close(l.stop)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("writing the last audit head: %w", context.Cause(ctx))
	}
}

// Run writes the head of the start and then records, until Close is called or ctx ends.
func (l *Log) Run(ctx context.Context) {
	defer close(l.done)
	l.write(ctx, l.head(ctx, HeadStart))
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case e := <-l.waiting:
			l.write(ctx, l.batch(e)...)
		case <-clock.C:
			l.look(ctx)
		case <-l.stop:
			l.last(ctx)
			return
		}
	}
}

// batch collects first and all waiting entries, up to batchMax.
func (l *Log) batch(first *entry) []*entry {
	all := []*entry{first}
	for len(all) < batchMax {
		select {
		case e := <-l.waiting:
			all = append(all, e)
		default:
			return all
		}
	}
	return all
}

// look writes the head of a new day and the sums of denials.
func (l *Log) look(ctx context.Context) {
	now := l.Now()
	for _, r := range l.denials.over(now) {
		l.write(ctx, l.entryOf(r))
	}
	if now.UTC().Truncate(24 * time.Hour).After(l.day) {
		l.write(ctx, l.head(ctx, HeadDay))
	}
}

// last writes the waiting records, the sums of denials, and the head of the stop.
func (l *Log) last(ctx context.Context) {
	for {
		select {
		case e := <-l.waiting:
			l.write(ctx, l.batch(e)...)
			continue
		default:
		}
		break
	}
	for _, r := range l.denials.all() {
		l.write(ctx, l.entryOf(r))
	}
	l.write(ctx, l.head(ctx, HeadStop))
}

// entryOf returns an entry for a record that no caller waits for.
func (l *Log) entryOf(r *Record) *entry {
	r.Time = l.Now().UTC()
	return &entry{record: r, ctx: context.Background(), stored: make(chan struct{})}
}

// head returns a head that names the last message of the stream. It returns nil if ctx
// ends.
func (l *Log) head(ctx context.Context, of string) *entry {
	h := &Head{Of: of}
	if l.Key != nil {
		h.KeyID = l.Key.ID()
	}
	if err := l.retry(ctx, func(ctx context.Context) error {
		st, err := l.JS.Stream(ctx, l.Stream)
		if err != nil {
			return err
		}
		h.Sequence = st.CachedInfo().State.LastSeq
		m, err := streams.At(ctx, l.JS, l.Stream, h.Sequence)
		switch {
		case h.Sequence == 0, errors.Is(err, streams.ErrNoMessage):
			return nil
		case err != nil:
			return err
		}
		h.Hash = Hash(m.Data)
		return nil
	}); err != nil {
		return nil
	}
	e := l.entryOf(&Record{Decision: DecisionHead, Head: h})
	if l.Policy != nil {
		e.record.Policy = l.Policy()
	}
	l.day = e.record.Time.Truncate(24 * time.Hour)
	return e
}

// retry calls try until it succeeds, and returns an error only if ctx ends. The log is
// blocked from the first failure until write has stored a batch.
func (l *Log) retry(ctx context.Context, try func(context.Context) error) error {
	for pause := retryFirst; ; pause = min(2*pause, retryMax) {
		once, cancel := context.WithTimeout(ctx, answerWait)
		err := try(once)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l.block(true)
		l.Log.ErrorContext(ctx, "the audit trail takes no record; the worker begins no order until it does",
			"stream", l.Stream, "trouble", streams.Trouble(err), "wait", pause, "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// block sets whether the stream takes records.
func (l *Log) block(blocked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocked.Load() == blocked {
		return
	}
	if blocked {
		l.open = make(chan struct{})
	} else {
		close(l.open)
	}
	l.blocked.Store(blocked)
	if l.Blocked != nil {
		l.Blocked(blocked)
	}
}
