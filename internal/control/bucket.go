// Package control owns the control bucket, through which the workers of one fleet share
// state. It has these keys: the live workers, the gateway's pause, the operators'
// suspensions, the breakers, the leases, the watchdog's scans, the cursors of certificate
// events, the last rollback, and counts of poison messages.
//
// Every write is a compare-and-set. Values hold durations instead of instants. The time
// at which the server stored a value starts its duration, and Clock measures the server's
// time. So a worker with a wrong host clock does not mislead other workers. Two kinds of
// instants are stored: dates of the gateway's events, which are only compared with each
// other, and dates of certificates. A worker caps each duration that another worker wrote
// before it uses it.
//
// The bucket may be deleted and made again while workers run. It holds no only copy of
// data that an order needs: workers remember the last rollback.
package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// callTime bounds one read or compare-and-set with all its tries. tryTime bounds the
	// wait for one acknowledgement.
	callTime = 5 * time.Second
	tryTime  = 2 * time.Second
	// inProcessWait is the wait before a write is sent again that the server refused
	// because it is processing another write of the same key.
	inProcessWait = 20 * time.Millisecond
	// casRounds bounds how often a call reads again after it lost a compare-and-set.
	casRounds = 16
	// maxSights bounds the number of remembered revisions.
	maxSights = 4096
	// markerTTL is how long the server keeps the marker of a removed key.
	markerTTL = time.Minute

	nonceHeader     = "Entrust-Nonce"
	operationHeader = "KV-Operation"
)

var (
	// ErrConflict says that another worker wrote the key first. This worker wrote
	// nothing.
	ErrConflict = errors.New("another worker wrote the key of the control bucket first")

	tokenRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// Config configures a Bucket. All fields but About and Log are required.
type Config struct {
	JS jetstream.JetStream
	// Bucket is the name of the key-value bucket, without "KV_".
	Bucket string
	// Worker names this process. No two live workers may share a name.
	Worker string
	// Gateway names the gateway that a pause concerns, for example its URL. Workers with
	// the same text share pauses. The bucket stores only its hash.
	Gateway string
	// About returns this worker's report for each beat. It must not block. If it is nil,
	// the worker reports its name, age and clock only.
	About func() About
	// Log receives the failures of Run; nil drops them.
	Log *slog.Logger
}

// Bucket is one worker's access to the control bucket. Run must be running for the
// worker's presence, for Clock, and for the handlers; every other method works without
// it. Safe for concurrent use.
type Bucket struct {
	js     jetstream.JetStream
	bucket string
	worker string
	pause  string // key
	about  func() About
	begun  time.Time
	log    *slog.Logger
	clock  Clock

	measuring sync.Mutex // held during a measurement by MeasureClock

	mu      sync.Mutex
	sights  map[string]sight
	cas     map[string]string // CA by its token, to name the CA of a removed key
	scans   map[string]Scan   // last seen by the watch
	scanned map[string]time.Time
	live    int
	others  []string // other live workers, by their token
	nudge   chan struct{}

	appeared time.Time // time of the last write of the presence; only Run's goroutine uses it
	own      uint64    // revision of this worker's last presence
	made     time.Time // creation time of the bucket, once read
	timed    time.Time // of the last measurement of the clock
}

// sight notes when this worker first saw a revision, on its own clock.
type sight struct {
	revision uint64
	stored   time.Time
	at       time.Time
}

// Open returns the bucket that cfg names. It does not touch the server.
func Open(cfg Config) *Bucket {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Bucket{
		js: cfg.JS, bucket: cfg.Bucket, worker: cfg.Worker, about: cfg.About, begun: time.Now(), log: cfg.Log,
		pause:  pausePrefix + token(cfg.Gateway),
		sights: map[string]sight{}, cas: map[string]string{},
		scans: map[string]Scan{}, scanned: map[string]time.Time{},
		live: 1, nudge: make(chan struct{}, 1),
	}
}

// Worker returns the name of this worker.
func (b *Bucket) Worker() string { return b.worker }

// Clock returns the server's time as this worker measures it.
func (b *Bucket) Clock() *Clock { return &b.clock }

// token makes one key token of any text. A text with other characters becomes "=" and a
// hash; no plain token contains "=".
func token(text string) string {
	if tokenRule.MatchString(text) {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return "=" + hex.EncodeToString(sum[:16])
}

// entry is the last value of a key. Its zero value is a key that was never written.
type entry struct {
	revision uint64
	data     []byte // nil: never written, removed, or expired
	nonce    string
	age      time.Duration // see Bucket.age
	stored   time.Time
}

func (b *Bucket) stream() string            { return "KV_" + b.bucket }
func (b *Bucket) subject(key string) string { return "$KV." + b.bucket + "." + key }

// read returns the last value of key from the leader.
func (b *Bucket) read(ctx context.Context, key string) (entry, error) {
	m, err := streams.Last(ctx, b.js, b.stream(), b.subject(key))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return entry{}, nil
	case err != nil:
		return entry{}, err
	}
	e := entry{revision: m.Sequence, nonce: m.Header.Get(nonceHeader), stored: m.Time, age: b.age(key, m.Sequence, m.Time)}
	if m.Header.Get(operationHeader) == "" && m.Header.Get(jetstream.MarkerReasonHeader) == "" {
		e.data = m.Data
	}
	return e, nil
}

// age returns the age of a value: its age by server time, or the time for which this
// worker has seen the same revision, whichever is longer. Before the clock is measured
// only the second counts. So a worker that misjudges the server's clock waits at most as
// long as the value says. The age is never negative.
func (b *Bucket) age(key string, revision uint64, stored time.Time) time.Duration {
	now := time.Now()
	b.mu.Lock()
	s := b.sights[key]
	if s.revision != revision || !s.stored.Equal(stored) {
		if len(b.sights) >= maxSights {
			clear(b.sights)
		}
		s = sight{revision, stored, now}
		b.sights[key] = s
	}
	b.mu.Unlock()
	age := now.Sub(s.at)
	if server, ok := b.clock.at(now); ok {
		age = max(age, server.Sub(stored))
	}
	return age
}

// write stores data under key if the key's last revision is after, and returns the new
// revision. Otherwise it returns ErrConflict. With a ttl above zero the server removes
// the key after ttl. Nil data removes the key.
func (b *Bucket) write(ctx context.Context, key string, after uint64, data []byte, ttl time.Duration) (uint64, error) {
	nonce := nuid.Next()
	msg := &nats.Msg{Subject: streams.PublishSubject(b.js, b.subject(key)), Data: data, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(after, 10)},
		nonceHeader:                         {nonce},
	}}
	if data == nil {
		msg.Header.Set(operationHeader, "DEL") // the server's own markers of expired keys have another value
		msg.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
		ttl = markerTTL
	}
	if ttl > 0 {
		msg.Header.Set(jetstream.MsgTTLHeader, ttl.String())
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for {
		try, stop := context.WithTimeout(ctx, tryTime)
		ack, err := b.js.PublishMsg(try, msg)
		stop()
		switch {
		case err == nil:
			return ack.Sequence, nil
		case streams.IsConflict(err):
			// Perhaps an earlier try succeeded and its acknowledgement was lost.
			last, err := b.read(ctx, key)
			switch {
			case err != nil:
				return 0, err
			case last.nonce == nonce:
				return last.revision, nil
			case last.revision != after:
				return 0, ErrConflict
			}
		case ctx.Err() != nil:
			return 0, fmt.Errorf("%w (last: %w)", context.Cause(ctx), err)
		case streams.Trouble(err) != "":
			return 0, err
		}
		if sleep(ctx, inProcessWait) != nil {
			return 0, context.Cause(ctx)
		}
	}
}

// update reads key and writes the value that change returns. If another worker wrote
// first, update starts again. If change returns nil, update writes nothing and returns
// the revision that it read. what names the key in errors.
func (b *Bucket) update(ctx context.Context, what, key string, ttl time.Duration, change func(entry) any) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var err error
	for range casRounds {
		var last entry
		if last, err = b.read(ctx, key); err != nil {
			return 0, fmt.Errorf("reading %s: %w", what, err)
		}
		value := change(last)
		if value == nil {
			return last.revision, nil
		}
		var data []byte
		if data, err = json.Marshal(value); err != nil {
			return 0, fmt.Errorf("encoding %s: %w", what, err)
		}
		var revision uint64
		if revision, err = b.write(ctx, key, last.revision, data, ttl); err == nil {
			return revision, nil
		}
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return 0, fmt.Errorf("writing %s: %w", what, err)
}

// duration is a time.Duration that is stored as text, for example "30s".
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

// oneLine turns any text into one line of at most maxText characters.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if r := []rune(text); len(r) > maxText {
		text = string(r[:maxText-1]) + "…"
	}
	return text
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
