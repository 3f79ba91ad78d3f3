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
	// poisonTTL is how long a count stands that nobody clears. A message that crashes
	// a worker once a week is no poison message.
	poisonTTL = 7 * 24 * time.Hour
)

// Message names one stored message for as long as there are streams: a stream that is
// made again gives its sequences again, at other times. Stored is compared and never
// taken for an instant.
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

// tries returns the count that a value holds for m, 0 where it is of another message.
func (m Message) tries(data []byte) int {
	var r poisonRecord
	if data == nil || json.Unmarshal(data, &r) != nil || r.Stored != m.identity() {
		return 0
	}
	return max(0, r.Tries)
}

// CountTry adds one to the tries of m that ended without a word, before the next one is
// made, and returns the sum. The try that ends in any orderly way clears it. After an
// error it may have been added.
func (b *Bucket) CountTry(ctx context.Context, m Message) (int, error) {
	tries := 0
	_, err := b.update(ctx, m.what(), m.key(), poisonTTL, func(last entry) any {
		tries = m.tries(last.data) + 1
		return poisonRecord{tries, m.identity()}
	})
	return tries, err
}

// Tries returns how many counted tries of m ended without a word, and how long ago the
// last of them was counted. 0 where none was.
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

// ClearTries removes the count of m. A count that stays behind is one crash too many if
// the message comes again, and expires otherwise.
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
