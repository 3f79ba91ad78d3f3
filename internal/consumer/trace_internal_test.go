package consumer

import (
	"context"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Without traces a handling allocates nothing for them.
func TestTracesOffAllocateNothing(t *testing.T) {
	h := &handling{w: new(Worker), d: new(delivery), key: order.Key{Producer: "shop", ID: "o"}}
	call, answer := &order.Call{Op: order.OpPoll}, &order.Answer{Word: order.Refused}
	decision := &order.Decision{Wakeup: new(order.Wakeup)}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		if traced := h.startSpan(ctx); traced != ctx {
			t.Error("a span began")
		}
		h.tracedAnswer(call, answer)
		h.tracedStep(order.StepWakeup, decision)
		h.endSpan(nil)
	}); n != 0 {
		t.Errorf("%v allocations of a handling without traces", n)
	}
}

// The cost of disabled traces for a handling. Read with benchstat.
func BenchmarkTracesOff(b *testing.B) {
	h := &handling{w: new(Worker), d: new(delivery)}
	call, answer := &order.Call{Op: order.OpPoll}, &order.Answer{Word: order.Refused}
	b.ReportAllocs()
	for b.Loop() {
		h.startSpan(b.Context())
		h.tracedAnswer(call, answer)
		h.endSpan(nil)
	}
}
