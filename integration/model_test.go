package integration

// A model of one order's life, made from the contract and not from the worker's
// tables: a bus, a ledger, a gateway, and workers that may die between any two
// of their effects. Whatever the order of events, every accepted request ends in
// one result of its generation, and nothing is submitted twice unasked.
//
// What a worker does is a program of effects (workerRules): the checks below show
// that changing the order of two of them is noticed.

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// live lets anything happen for a while, then lets the world calm down, and returns
// what was violated with what led to it, or "".
func live(cfg mConfig, rules mRules, moves int, pick func(string, int) int) string {
	w := newWorld(cfg, rules, pick)
	for range moves {
		w.move()
		if w.violation != "" {
			return w.tell()
		}
	}
	w.calmDown()
	return w.tell()
}

func (w *mWorld) tell() string {
	if w.violation == "" {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%+v", w.violation, w.mConfig)
	for _, n := range w.history {
		fmt.Fprintf(&b, "\n"+n.format, n.args...)
	}
	return b.String()
}

// move is one thing that happens.
func (w *mWorld) move() {
	// What workers do is most of what happens.
	switch n := w.pick("move", 24); {
	case n < 12 && len(w.handlers) > 0:
		w.handlers[w.pick("worker", len(w.handlers))].step()
	case n < 16 && len(w.queue) > 0:
		m := w.queue[w.pick("message", len(w.queue))]
		// A message is given to somebody else while it is in hand only where its
		// worker is slow.
		if !m.inHand || len(w.handlers) < 4 && w.pick("slow", 4) == 0 {
			w.deliver(m)
		}
	case n == 16 && len(w.handlers) > 0:
		h := w.handlers[w.pick("who dies", len(w.handlers))]
		w.note("%s %d: death", h.msg.what, h.replay)
		w.leave(h)
	case n == 17:
		w.leaseOver()
	case n == 18:
		w.leaseOver()
		w.decide()
	case n == 19:
		w.fire()
	case n == 20:
		w.approve()
	case n == 21:
		w.note("deadline")
		w.late = true
	case len(w.queue) < 6:
		w.produce()
	}
}

// approve decides an order that waits.
func (w *mWorld) approve() {
	for i, e := range w.enrollments {
		if e == "" {
			w.enrollments[i] = []mWord{mIssued, mIssued, mRejected}[w.pick("approval", 3)]
			w.note("approval: %s", w.enrollments[i])
			return
		}
	}
}

// produce is a producer who publishes again, or cancels, or an operator.
func (w *mWorld) produce() {
	switch w.pick("publish", 4) {
	case 0:
		w.publish("issue", w.pick("generation", w.asked["o"]+1))
	case 1:
		w.publish("alien", 0)
	case 2:
		w.publish("cancel", 0)
	case 3:
		// An operator replays what ended without a certificate.
		if r := w.records["o"]; r != nil && r.state == "closed" && r.outcome != mIssued && r.replay < 3 {
			w.publish("issue", r.replay+1)
		}
	}
}

// calmDown lets everybody finish: nothing fails any more, time passes, and approvers
// decide. Then nothing may be left, and everything must have been answered.
func (w *mWorld) calmDown() {
	w.note("calm")
	w.calm = true
	for range 60 {
		for i := 0; len(w.handlers) > 0 && i < 500; i++ {
			w.handlers[0].step()
		}
		w.leaseOver()
		w.decide()
		for _, m := range slices.Clone(w.queue) {
			w.deliver(m)
			for i := 0; len(w.handlers) > 0 && i < 500; i++ {
				w.handlers[0].step()
			}
		}
		w.fire()
		w.approve()
		w.late = true
		if w.violation != "" {
			return
		}
		if len(w.queue) == 0 && len(w.handlers) == 0 && !w.armed {
			break
		}
	}
	if len(w.queue) > 0 || len(w.handlers) > 0 || w.armed {
		w.violate("I1: the world does not come to rest: %d messages, %d in hand, slot %v", len(w.queue), len(w.handlers), w.armed)
	}
	for key, replay := range w.asked {
		log := w.results[key]
		if len(log) == 0 || log[len(log)-1].replay < replay {
			w.violate("I1: generation %d of %s has no result: %+v", replay, key, log)
		} else if r := w.records[key]; r == nil || r.state != "closed" || r.outcome != log[len(log)-1].outcome {
			w.violate("the ledger says %+v where the result says %s", r, log[len(log)-1].outcome)
		}
	}
	if w.aliens > 0 && !w.letters["alien"] {
		w.violate("I1: a request of other content under the same id has no dead letter")
	}
	for _, r := range w.results["o"] {
		if r.letter && !w.letters[r.letterID("o")] {
			w.violate("I1: the order ended as %s without a dead letter", r.outcome)
		}
	}
}

// configs are all that decide about an order of unknown fate.
func configs() []mConfig {
	return []mConfig{
		{},
		{canFind: true},
		{canFind: true, approvalNever: true},
		{approvalNever: true},
		{resubmit: true},
		{canFind: true, resubmit: true},
	}
}

// Whatever happens, in whatever order.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, cfg := range configs() {
		t.Run(fmt.Sprintf("%+v", cfg), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				pick := func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }
				if found := live(cfg, workerRules(), 120, pick); found != "" {
					t.Fatal(found)
				}
			})
		})
	}
}

// The same from fixed seeds, and many more of them.
func TestModelBySeed(t *testing.T) {
	t.Parallel()
	for _, cfg := range configs() {
		t.Run(fmt.Sprintf("%+v", cfg), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(1000) {
				if found := live(cfg, workerRules(), 150, dice(seed)); found != "" {
					t.Fatalf("seed %d: %s", seed, found)
				}
			}
		})
	}
}

func dice(seed uint64) func(string, int) int {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(_ string, n int) int { return r.IntN(n) }
}

// A worker that did any of this otherwise would be found out.
func TestModelNotices(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*mRules)
		want   string // how the violation begins
	}{
		{"slot before record", func(r *mRules) { r.park = []string{"armed", "parked", "ack"} }, "I1"},
		{"ack before slot", func(r *mRules) { r.park = []string{"parked", "ack", "armed"} }, "I1"},
		{"ack of a wake-up before the next slot", func(r *mRules) { r.repark = []string{"ack", "armed"} }, "I1"},
		{"close before result", func(r *mRules) { r.finish = []string{"keep", "letter", "close", "result", "disarm", "ack"} }, "I1"},
		{"ack before result", func(r *mRules) { r.finish = []string{"ack", "keep", "letter", "result", "close", "disarm"} }, "I1"},
		{"letter after close", func(r *mRules) { r.finish = []string{"result", "close", "letter", "disarm", "ack"} }, "I1"},
		{"call before record", func(r *mRules) { r.submit = []string{"post", "open", "answer"} }, "I3"},
		{"replay submits what waits", func(r *mRules) { r.replayFollows = false }, "I3"},
		{"look-up before the settle time", func(r *mRules) { r.lookUpSettles = false }, "I3"},
		{"slot of an earlier generation taken for this one's", func(r *mRules) { r.slotHasGeneration = false }, "I1"},
		{"result without a comparison", func(r *mRules) { r.resultIsCompared = false }, "I2"},
		{"cancellation of an order that is under way", func(r *mRules) { r.cancelSparesCalls = false }, "an order that was cancelled"},
		{"wake-up that does not ask the ledger", func(r *mRules) { r.dueAsksLedger = false }, "an order that ended"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rules := workerRules()
			tc.change(&rules)
			var other string
			for seed := range uint64(20000) {
				found := live(configs()[seed%uint64(len(configs()))], rules, 150, dice(seed))
				if strings.HasPrefix(found, tc.want) {
					return
				}
				if found != "" {
					other = found
				}
			}
			t.Errorf("nothing that begins with %q was found; %s", tc.want, other)
		})
	}
}
