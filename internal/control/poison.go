package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	poisonPrefix = "poison."
	// poisonTTL is how long a count lasts that no worker clears. A message that crashes a
	// worker once a week is not a poison message.
	poisonTTL = 7 * 24 * time.Hour
)

// Message names one stored message uniquely, even if its stream is made again: that
// stream repeats sequences, but at other times. Stored is only compared, never used as a
// time.
type Message struct {
	Stream   string
	Sequence uint64
	Stored   time.Time
}

// poisonRecord is the value of a count's key.
type poisonRecord struct {
	Tries  int    `json:"tries"`
	Stored string `json:"stored"` // identity
}

func (m Message) key() string {
	return poisonPrefix + token(m.Stream) + "." + strconv.FormatUint(m.Sequence, 10)
}

func (m Message) what() string {
	return fmt.Sprintf("the count of tries of message %d of %s", m.Sequence, m.Stream)
}

func (m Message) identity() string { return m.Stored.UTC().Format(time.RFC3339Nano) }

// tries returns the count that a value holds for m; 0 if the value belongs to another
// message.
func (m Message) tries(data []byte) int {
	var r poisonRecord
	if data == nil || json.Unmarshal(data, &r) != nil || r.Stored != m.identity() {
		return 0
	}
	return max(0, r.Tries)
}

// CountTry counts a try of m before the worker makes it, and returns the number of tries
// since the last ClearTries. A try that ends in order calls ClearTries, so all tries but
// this one crashed. After an error the try may or may not be counted.
func (b *Bucket) CountTry(ctx context.Context, m Message) (int, error) {
	tries := 0
	_, err := b.update(ctx, m.what(), m.key(), poisonTTL, func(last entry) any {
		tries = m.tries(last.data) + 1
		return poisonRecord{tries, m.identity()}
	})
	return tries, err
}

// Tries returns how many counted tries of m did not end in order, and how long ago the
// last was counted. Both are 0 if there is no count.
func (b *Bucket) Tries(ctx context.Context, m Message) (tries int, age time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	last, err := b.read(ctx, m.key())
	if err != nil {
		return 0, 0, fmt.Errorf("reading %s: %w", m.what(), err)
	}
	if tries = m.tries(last.data); tries == 0 {
		return 0, 0, nil
	}
	return tries, last.age, nil
}

// ClearTries removes the count of m. A count that remains counts as one crash too many if
// the message comes again; otherwise it expires.
func (b *Bucket) ClearTries(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	last, err := b.read(ctx, m.key())
	if err == nil && last.data != nil {
		_, err = b.write(ctx, m.key(), last.revision, nil, 0)
	}
	if err != nil && !errors.Is(err, ErrConflict) { // another worker has the message
		return fmt.Errorf("removing %s: %w", m.what(), err)
	}
	return nil
}
