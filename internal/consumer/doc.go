// Package consumer takes messages off the bus and carries out what package order decides
// about them. Package order holds the life of an order. This package handles messages,
// calls and crashes.
//
// # One message
//
//	fetch ─▶ read request or wake-up ─▶ read record ─▶ decide ─▶ effects ─▶ settle
//	                                        ▲             │
//	                                        │             ▼
//	                                        └── answer ◀─ call, with a permit of its breaker
//
// One loop (handle.go) decides, asks for the permit of the call, carries out the effects
// (carry.go), makes the call, and decides about the answer. Effects come in the order of
// order.Steps.
//
//   - A refused permit changes the decision before any effect is carried out.
//   - Before each submission the decision asks the policy in force (policy.go). A refusal
//     is an end like any other.
//   - Where another writer changed the record, the loop reads it again and decides on the
//     same event. So a definite answer is written over an undecided record.
//   - A cancellation runs the same loop for its target.
//
// # What a crash leaves
//
// A failpoint stands before and after each effect and call, and nowhere else. The tests of
// package integration kill the worker at each. "Comes again" is the message, after the ack
// wait; where a wake-up exists, that wakes the order too. The first column is the failpoint,
// the second what the bus and the gateway hold, the third what the next worker does.
//
//	crashed at       leaves                              then
//	record.before    the earlier record, if any; a call  submitting, its lease over: looked up, then adopted,
//	                 may have been answered              resubmitted or held; awaiting: polled again; nothing: first try
//	record.after     submitting: no call yet             comes again: waits for the lease in a wake-up, then looked up
//	                 unaccepted, indeterminate, awaiting comes again: tried, looked up, or given its wake-up
//	                 concluded                           comes again: dead letter, result and close are published
//	letter.before    concluded                           comes again: published
//	letter.after     concluded, dead letter              comes again: the second dead letter has the same id, so it is a
//	                                                     duplicate within the duplicate window; later there are two
//	result.before    submitting, awaiting or concluded;  looked up, polled again, or published; the entry for the
//	                 owner or blocked key may be written certificate or key is found there, or written
//	result.after     the same, and the result            comes again: the worker reads the result, closes the record
//	audit.before     the result, no audit record         comes again: the audit record of the result that stands is written
//	                 awaiting, indeterminate, replayed   comes again; the audit record of the end counts its submissions
//	audit.after      the audit record; the order is open comes again: it is repeated, under an id of its chain
//	closed.before    result, record not closed           comes again: closed
//	closed.after     closed, or the close is lost        comes again: acknowledged, or closed; its wake-up is stale
//	wakeup.before    a waiting record without wake-up    comes again: given its wake-up
//	                 closed, a wake-up left behind       fires once, is stale, is acknowledged
//	wakeup.after     a waiting record and its wake-up    comes again: acknowledged; a due message is handled again
//	call.before      submitting or waiting: not called   as record.after, or polled and looked up again
//	call.after       the gateway's effect, no record     as record.before, or polled and looked up again
//	settle.before    all but the acknowledgement         comes again: as the rows above
//	settle.after     nothing to do; or the server lost   the watchdog wakes the order, and a worker closes it from its
//	                 the close that nothing waits for    result
//
// With a policy the result effect first writes the owner of an issued certificate (owner.go).
// Of a certificate that was revoked for keyCompromise it first blocks the key. Both stand
// before the result, and both writes may be repeated: the first stands.
//
// A ledger that is deleted and created again has no records. A redelivered request, or a
// wake-up, finds the result or the wake-up on the bus, and the worker writes the record that
// those show. Where neither is left and the ledger is younger than the request, the order is
// indeterminate.
//
// # A bus that lost its last writes
//
// rollback.go compares what was acknowledged with what the leader holds: after each
// connect, before an order goes on, and with each presence. The first worker that misses
// a write records in the control bucket up to which sequence ledger and requests are older
// than the loss. From then on two kinds of issue orders are indeterminate:
//
//   - an order without a record whose request is older than that;
//   - an order with an open record that is older than that.
//
// A handling that began before the loss stops before its next effect, so that no
// acknowledgement removes a message whose effects the bus lost. It does not begin a
// call. It decides again about an answer that it has from the gateway.
//
// A message may have no record and end in a dead letter only: it has no readable id, or an
// id of another request. The worker acknowledges it with confirmation, after its dead letter.
// Between the two it publishes the reason on entrust.refused.<producer>. That is no effect of
// the table: a crash may lose or repeat it.
//
// # Messages and the server
//
// Only settle.go answers the server. Consumers have no MaxDeliver and no BackOff: the
// server drops no message by itself. AckWait covers the time between two heartbeats;
// the worker extends messages in flight at a third of it. When a message comes again to the
// worker that has it in flight, the handling under way answers for both.
//
// A nats-server that was killed delivers again what it had not stored as delivered, and
// counts it as the first delivery. So before it polls, a worker looks for the result of a
// wake-up that comes again, or that was due before the connection was made.
//
// A message that is delivered more than three times is counted in the control bucket
// before each try. After three tries without an outcome it ends as a dead letter `crashed`.
// poison.go says how the worker finds which of several messages crashes.
//
// # The gateway's trouble
//
// throttling.go asks package throttle before each call, and reports how the call ended.
//
//   - While no CA can be asked for a lane's operation, the lane does not pull and its
//     requests wait in the stream.
//   - While few calls are let through, the lane pulls that many messages, and handles them
//     before it pulls again.
//   - The concurrency of a lane counts calls. A message waits for room among them before
//     the breaker is asked and its record is written. It gives the room back when the gateway
//     has answered.
//   - A message that meets an open breaker before its record is written goes back to the
//     server. Any other waits in a wake-up.
package consumer
