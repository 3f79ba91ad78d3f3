package consumer

import (
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// maxRefusals is the most refusals of one producer that a worker publishes in a second.
const maxRefusals = 10

// refusals publishes to producers which requests get no result. It does not wait, repeat or
// store: the dead letter is the durable record. It is safe for concurrent use.
type refusals struct {
	nc       *nats.Conn
	subjects entrustbus.Subjects
	log      *slog.Logger
	begun    time.Time

	mu     sync.Mutex
	second time.Duration  // counted in told, since begun
	told   map[string]int // by producer, in that second
}

// tell publishes a refusal, unless the producer already got maxRefusals in this second. It
// ignores nil.
func (f *refusals) tell(r *entrustbus.Refusal) {
	if r == nil || !f.allows(r.Producer) {
		return
	}
	body, err := entrustbus.EncodeRefusal(r)
	if err == nil {
		msg := nats.NewMsg(f.subjects.Refused(r.Producer))
		msg.Header.Set(entrustbus.HeaderContentType, entrustbus.EncodingJSON.ContentType())
		msg.Data = body
		err = f.nc.PublishMsg(msg)
	}
	if err != nil {
		f.log.Debug("publishing a refusal to a producer", "producer", r.Producer, "sequence", r.Sequence, "err", err)
	}
}

// allows counts a refusal. It keeps the producers of one second only, which bounds its memory.
func (f *refusals) allows(producer string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if second := time.Since(f.begun).Truncate(time.Second); f.told == nil || second != f.second {
		f.second, f.told = second, map[string]int{}
	}
	f.told[producer]++
	return f.told[producer] <= maxRefusals
}
