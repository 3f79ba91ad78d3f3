package consumer

import (
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// maxRefusals is how many refusals of one producer a worker publishes in a second.
const maxRefusals = 10

// refusals tells producers of requests that get no result. Nobody waits for it, nothing
// repeats it, and the server keeps none: the dead letter is what lasts. It is safe for
// concurrent use.
type refusals struct {
	nc       *nats.Conn
	subjects entrustbus.Subjects
	log      *slog.Logger
	begun    time.Time

	mu     sync.Mutex
	second time.Duration  // that told counts, since begun
	told   map[string]int // by producer, in that second
}

// tell publishes a refusal, unless the producer was told of too many in this second. Nil
// is none.
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
		f.log.Debug("telling a producer of a refused request", "producer", r.Producer, "sequence", r.Sequence, "err", err)
	}
}

// allows counts a refusal. It knows the producers of one second only, so that no number
// of names takes memory for longer.
func (f *refusals) allows(producer string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if second := time.Since(f.begun).Truncate(time.Second); f.told == nil || second != f.second {
		f.second, f.told = second, map[string]int{}
	}
	f.told[producer]++
	return f.told[producer] <= maxRefusals
}
