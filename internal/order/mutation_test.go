package order

import (
	"slices"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// mutation is a deliberate fault. The search must find it.
type mutation struct {
	name   string
	scene  *scene
	events int
	faults int
}

// decides wraps the decision of a scene.
func decides(change func(m *Machine, now time.Time, key Key, cur *Stored, ev *Event) func(*Decision)) func(*scene) {
	return func(s *scene) {
		inner := s.decide
		s.decide = func(m *Machine, now time.Time, key Key, cur Stored, ev Event) Decision {
			after := change(m, now, key, &cur, &ev)
			d := inner(m, now, key, cur, ev)
			if after != nil {
				after(&d)
			}
			return d
		}
	}
}

// then changes finished decisions.
func then(change func(cur *Stored, ev Event, d *Decision)) func(*scene) {
	return decides(func(_ *Machine, _ time.Time, _ Key, cur *Stored, ev *Event) func(*Decision) {
		return func(d *Decision) { change(cur, *ev, d) }
	})
}

// given changes the input of decisions.
func given(change func(cur *Stored, ev *Event)) func(*scene) {
	return decides(func(_ *Machine, _ time.Time, _ Key, cur *Stored, ev *Event) func(*Decision) {
		change(cur, ev)
		return nil
	})
}

// loops changes the loop.
func loops(change func(*mutant)) func(*scene) { return func(s *scene) { change(&s.mutant) } }

// stepsOf makes the loop carry out the effects in another order.
func stepsOf(moved, before Step) func(*scene) {
	return func(s *scene) {
		s.steps = slices.DeleteFunc(Steps(), func(s Step) bool { return s == moved })
		s.steps = slices.Insert(s.steps, slices.Index(s.steps, before), moved)
	}
}

// on returns a change of a scene that makes a mutation visible.
func on(changes ...func(*scene)) func(*scene) {
	return func(s *scene) {
		for _, change := range changes {
			change(s)
		}
	}
}

func possible(f ...faulty) func(*scene)      { return func(s *scene) { s.possible = f } }
func cancelled(s *scene)                     { s.cancelled = true }
func noLookUp(s *scene)                      { s.canLookUp = false }
func resubmits(s *scene)                     { s.OnLostReply = Resubmit }
func rolledBack(more ...faulty) func(*scene) { return possible(append(more, rollback)...) }
func neverWaits(s *scene)                    { s.ApprovalNever = true }

// answerOf returns the answer that an event brings.
func answerOf(ev Event, op Op) (Answered, bool) {
	e, ok := ev.(Answered)
	return e, ok && e.Call.Op == op
}

// mutations are all deliberate faults.
func mutations() []mutation {
	issue := func(name string, events, faults int, changes ...func(*scene)) mutation {
		return mutation{name, newScene(name, entrustbus.KindIssue, on(changes...)), events, faults}
	}
	track := func(name string, events, faults int, changes ...func(*scene)) mutation {
		return mutation{name, newScene(name, entrustbus.KindTrack, on(changes...)), events, faults}
	}
	return []mutation{
		issue("the record is not written before the POST", 4, 1, possible(death), loops(func(m *mutant) { m.callsUnrecorded = true })),
		issue("the message is acknowledged before the result", 3, 1, possible(death), stepsOf(StepSettle, StepResult)),
		issue("the order is closed before its result", 3, 1, possible(death), stepsOf(StepClosed, StepResult)),
		issue("the wake-up is scheduled after the acknowledgement", 3, 1, possible(death), stepsOf(StepSettle, StepWakeup)),
		issue("the dead letter follows the close", 3, 1, possible(death), func(s *scene) {
			s.steps = []Step{StepRecord, StepResult, StepClosed, StepLetter, StepWakeup, StepSettle}
		}),
		issue("the audit follows the close", 3, 1, possible(death), stepsOf(StepClosed, StepAudit)),
		issue("an order that is closed from its result is not audited", 3, 1, possible(death), then(func(_ *Stored, _ Event, d *Decision) {
			if d.Stands != nil {
				d.Audit = nil
			}
		})),
		issue("the message is acknowledged when it comes", 3, 1, possible(death), loops(func(m *mutant) { m.acksFirst = true })),
		issue("a record is written without compare-and-set", 5, 2, possible(staleRedelivery, delay, death), loops(func(m *mutant) { m.writesBlindly = true })),
		issue("a result is published without compare-and-set", 4, 1, possible(lostAck, death), loops(func(m *mutant) { m.publishesBlindly = true })),
		issue("a result of any generation stands", 5, 1, possible(replay), loops(func(m *mutant) { m.anyResultStands = true })),
		issue("a record is closed over a later generation", 6, 2, possible(replay, lostAck), loops(func(m *mutant) { m.closesAny = true })),
		issue("an event is dropped where another writer was first", 5, 2, possible(delay, staleRedelivery), loops(func(m *mutant) { m.dropsOnConflict = true })),
		issue("a drain keeps no end", 4, 1, possible(drain), loops(func(m *mutant) { m.forgetsKeep = true })),
		issue("the lease is not checked before the call", 6, 2, possible(delay, staleRedelivery), neverWaits, loops(func(m *mutant) { m.callsAfterLease = true })),
		issue("a rollback of the store is not noticed", 6, 1, rolledBack(), loops(func(m *mutant) { m.ignoresLoss = true })),
		issue("no answer counts as not accepted", 4, 0, given(func(_ *Stored, ev *Event) {
			if e, ok := answerOf(*ev, OpEnroll); ok && e.Answer.Word == NoAnswer {
				e.Answer.Word, e.Answer.Written = NotAccepted, true
				*ev = e
			}
		})),
		issue("an order is submitted again without a look-up", 5, 1, possible(death), decides(func(m *Machine, now time.Time, key Key, cur *Stored, ev *Event) func(*Decision) {
			return func(out *Decision) {
				if out.Call != nil && out.Call.Op == OpLookUp {
					d := decider{Machine: m, now: now, key: key, cur: *cur}
					*out = d.submit(cur.Record)
				}
			}
		})),
		issue("the look-up comes before it can tell", 5, 1, possible(death), neverWaits, func(s *scene) { s.settled = -3 * time.Minute }),
		issue("the lease of another worker is ignored", 4, 1, possible(staleRedelivery), noLookUp, given(func(cur *Stored, ev *Event) {
			if _, ok := (*ev).(Answered); !ok {
				cur.Lease = 0
			}
		})),
		issue("a live lease is met without a wake-up", 4, 2, possible(staleRedelivery, death), then(func(cur *Stored, ev Event, d *Decision) {
			if cur.Phase == Submitting && d.Record == nil {
				d.Wakeup = nil
			}
		})),
		issue("a submission is not counted", 4, 0, then(func(cur *Stored, _ Event, d *Decision) {
			if d.Call != nil && d.Call.Op == OpEnroll && cur.Submissions > 0 {
				r := *d.Record
				r.Submissions = cur.Submissions
				d.Record = &r
			}
		})),
		issue("a second submission is not admitted", 6, 0, resubmits, noLookUp, then(func(_ *Stored, _ Event, d *Decision) {
			if d.Record != nil && d.Record.PossibleDuplicate {
				r := *d.Record
				r.PossibleDuplicate = false
				d.Record = &r
			}
		})),
		issue("an unaccepted order gets no wake-up", 3, 0, then(func(_ *Stored, _ Event, d *Decision) {
			if d.Record != nil && d.Record.Phase == Unaccepted {
				d.Wakeup = nil
			}
		})),
		issue("an order expires before its deadline", 4, 0, given(func(_ *Stored, ev *Event) {
			if e, ok := answerOf(*ev, OpPoll); ok {
				e.Call.Last = true
				*ev = e
			}
		})),
		issue("the tracking id is not kept", 4, 0, then(func(_ *Stored, _ Event, d *Decision) {
			if d.Record != nil && d.Record.Phase == Awaiting {
				r := *d.Record
				r.TrackingID = ""
				d.Record = &r
			}
		})),
		issue("a concluded order counts as closed", 3, 1, possible(death), given(func(cur *Stored, _ *Event) {
			if cur.Phase == Concluded {
				cur.Phase = Closed
			}
		})),
		issue("an end is not written before its result", 5, 2, resubmits, noLookUp, possible(delay, staleRedelivery), then(func(_ *Stored, _ Event, d *Decision) {
			if d.Result != nil && d.Record != nil && d.Letter == nil {
				d.Record, d.Keep = nil, d.Record
			}
		})),
		issue("a cancellation ends an order that is submitted", 4, 0, cancelled, given(func(cur *Stored, ev *Event) {
			if _, ok := (*ev).(Cancelled); ok && cur.Phase == Submitting {
				cur.Phase = Unaccepted
			}
		})),
		track("a wake-up of an earlier generation is dropped", 4, 1, cancelled, possible(replay), then(func(cur *Stored, ev Event, d *Decision) {
			if e, ok := ev.(Woken); ok && e.Wakeup.Generation < cur.Generation {
				*d = ack(Notice{})
			}
		})),
		issue("a completion by hand is not taken up again", 4, 2, possible(completion, resolution, death), then(func(cur *Stored, ev Event, d *Decision) {
			if e, ok := ev.(ByHand); ok && e.Request.Generation == cur.Generation {
				*d = ack(Notice{})
			}
		})),
		issue("a look-up answers for a later submission", 6, 1, neverWaits, possible(duplicate), given(func(cur *Stored, ev *Event) {
			if e, ok := answerOf(*ev, OpLookUp); ok {
				e.Call.Submission = cur.Submissions
				*ev = e
			}
		})),
		issue("a submission counts from its decision, not from its record", 6, 2, neverWaits, possible(delay, duplicate), decides(func(_ *Machine, _ time.Time, _ Key, cur *Stored, _ *Event) func(*Decision) {
			submitted := cur.SubmittedAt
			return func(d *Decision) {
				if cur.Phase == Submitting && d.Record != nil && d.Record.Phase == Indeterminate {
					r := *d.Record
					r.SubmittedAt = submitted
					d.Record = &r
				}
				if cur.Phase == Submitting && d.Wakeup != nil && d.Record != nil && d.Record.Phase == Indeterminate {
					w := *d.Wakeup
					w.Due = submitted.Add(3 * time.Minute)
					d.Wakeup = &w
				}
			}
		})),
		issue("the policy is not asked before a submission", 3, 1, possible(denial), given(func(_ *Stored, ev *Event) {
			if e, ok := (*ev).(Delivered); ok {
				e.Remains.Judge = nil
				*ev = e
			}
		})),
		issue("the policy is not asked before a resubmission", 5, 1, possible(denial), given(func(_ *Stored, ev *Event) {
			if e, ok := (*ev).(Woken); ok {
				e.Remains.Judge = nil
				*ev = e
			}
		})),
		issue("the policy is not asked after a look-up", 6, 1, neverWaits, possible(denial), given(func(_ *Stored, ev *Event) {
			if e, ok := answerOf(*ev, OpLookUp); ok {
				e.Remains.Judge = nil
				*ev = e
			}
		})),
		issue("a denial ends an order that may have been accepted", 5, 1, resubmits, noLookUp, possible(denial), decides(func(m *Machine, now time.Time, key Key, cur *Stored, ev *Event) func(*Decision) {
			asked := *ev
			return func(out *Decision) {
				if out.Record != nil && out.Record.Phase == Concluded && out.Record.Conclusion.Result.Error.Code == CodeDenied {
					d := decider{Machine: m, now: now, key: key, cur: *cur}
					if e, ok := asked.(Woken); ok {
						d.request = e.Request
					} else if e, ok := asked.(Answered); ok {
						d.request = e.Request
					}
					r := cur.Record
					r.PossibleDuplicate = false
					*out = d.deny(r, Verdict{Denied: refusal})
				}
			}
		})),
		issue("a denial gets no dead letter", 3, 1, possible(denial), then(func(_ *Stored, _ Event, d *Decision) {
			if d.Letter != nil && d.Letter.Reason == Denied {
				d.Letter = nil
			}
		})),
		issue("an end removes the wake-up of a later generation", 6, 2, possible(replay, delay), loops(func(m *mutant) { m.unwakesAny = true })),
	}
}

// TestMutations adds each fault and requires that the search finds it.
func TestMutations(t *testing.T) {
	for _, m := range mutations() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			found := search{scene: m.scene, events: m.events, faults: m.faults}
			if found.run() {
				t.Fatalf("it survives: %v", &found)
			}
			t.Logf("caught by %s; %v, %d steps", found.broken, &found, len(found.trace))
		})
	}
}
