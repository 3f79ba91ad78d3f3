package dead

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	replays "github.com/entrust-worker/entrust-worker/internal/replay"
)

const (
	// lookEvery is how often a replay looks at the breakers and for new letters.
	lookEvery = time.Second
	// fewBack is how many letters come back before a replay stops, where they are a tenth of
	// what it sent.
	fewBack = 3
)

// brake stops a replay that does harm: into an open breaker, or of what fails again. It is
// not safe for concurrent use.
type brake struct {
	bus   *connect.Bus
	now   func() time.Time
	seen  uint64 // the newest letter that was looked at
	last  time.Time
	state control.State
	sent  map[order.Key]bool
	back  int // letters of what was sent
}

// newBrake begins behind the newest letter that there is.
func newBrake(ctx context.Context, bus *connect.Bus, now func() time.Time) (*brake, error) {
	ctx, cancel := bus.Step(ctx)
	defer cancel()
	newest, err := box(bus).Newest(ctx)
	return &brake{bus: bus, now: now, seen: newest, sent: map[order.Key]bool{}}, err
}

// stops returns why the replay of a plan must wait, "" where nothing speaks against it.
func (b *brake) stops(ctx context.Context, p *replays.Plan) (string, error) {
	if now := b.now(); now.Sub(b.last) >= lookEvery {
		b.last = now
		if err := b.look(ctx); err != nil {
			return "", err
		}
	}
	if b.back >= fewBack && 10*b.back >= len(b.sent) {
		return fmt.Sprintf("%d of %d replayed requests became dead letters again", b.back, len(b.sent)), nil
	}
	for _, open := range b.state.Breakers {
		if open.Operation == string(p.Op()) && (p.CAID == "" || p.CAID == open.CA) {
			why := fmt.Sprintf("the breaker of %s at %s is open", open.Operation, open.CA)
			if open.Cause != "" {
				why += ": " + open.Cause
			}
			return why, nil
		}
	}
	why := ""
	for _, w := range b.state.Workers {
		if w.Silent {
			continue
		}
		if w.GatewayProblem == "" {
			return "", nil
		}
		why = w.GatewayProblem
	}
	return why, nil
}

// look reads the breakers, and the letters that are new.
func (b *brake) look(ctx context.Context) error {
	ctx, cancel := b.bus.Step(ctx)
	defer cancel()
	var err error
	if b.state, err = control.ReadState(ctx, b.bus.JS, b.bus.Layout.Control, 0); err != nil {
		return err
	}
	for l, err := range box(b.bus).List(ctx, deadletter.Filter{Behind: b.seen}) {
		if odd, ok := errors.AsType[*deadletter.UnreadableError](err); ok {
			b.seen = odd.Sequence
			continue
		}
		if err != nil {
			return err
		}
		if b.seen = l.Sequence; b.sent[l.Key] {
			b.back++
		}
	}
	return nil
}
