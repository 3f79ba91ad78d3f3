// Package consumer takes messages off the bus and carries out what package order decides
// about them. How an order lives, that package says; this one knows messages, calls and
// crashes.
//
// # One message
//
//	fetch ─▶ read request or wake-up ─▶ read record ─▶ decide ─▶ effects ─▶ settle
//	                                        ▲             │
//	                                        │             ▼
//	                                        └── answer ◀─ call, with a permit of its breaker
//
// One loop (handle.go) decides, asks for the permit of the call, has the effects
// carried out (carry.go), makes the call, and decides about the answer. Effects come in
// the one order of order.Steps. A permit that is refused changes the decision before
// anything is carried out. The decision to submit asks the policy in force (policy.go): a
// refusal is an end like any other. A record that another writer changed is read again, and the
// same event is decided on it: a definite answer is so written over an undecided record.
// A cancellation runs the same loop for its target.
//
// # What a crash leaves
//
// A failpoint stands before and after each effect and call, and nowhere else; the tests of
// package integration kill the worker at each. "Comes again" is the message, after the ack
// wait; where a wake-up exists, the order is woken by that too.
//
//	crashed at       leaves                              and then
//	record.before    what stood before; a call may have  submitting, its lease over: looked up, then adopted,
//	                 been answered                       resubmitted or held; awaiting: polled again; nothing: first try
//	record.after     submitting: no call yet             comes again: waits for the lease in a wake-up, then looked up
//	                 unaccepted, indeterminate, awaiting comes again: tried, looked up, or given its wake-up
//	                 concluded                           comes again: letter, result and close are published
//	letter.before    concluded                           comes again: published
//	letter.after     concluded, letter                   comes again: the letter's id makes the second one a duplicate
//	                                                     within the duplicate window; later there are two of one end
//	result.before    submitting, awaiting or concluded;  looked up, polled again, or published; what is known of the
//	                 its certificate or key may be kept  certificate or key is found there, or written
//	result.after     the same, and the result            comes again: the result that stands is read, the record closed
//	audit.before     the result, no record in the trail  comes again: the record is written of the result that stands
//	                 awaiting, indeterminate, replayed   comes again; the record of the end counts its submissions
//	audit.after      the record; the order is not closed comes again: the record is repeated, under an id of its chain
//	closed.before    result, record not closed           comes again: closed
//	closed.after     closed, or the close is lost        comes again: acknowledged, or closed; its wake-up is stale
//	wakeup.before    a waiting record without wake-up    comes again: given its wake-up
//	                 closed, a wake-up left behind       fires once, is stale, is acknowledged
//	wakeup.after     a waiting record and its wake-up    comes again: acknowledged; a due message is handled again
//	call.before      submitting or waiting: not called   as record.after, or polled and looked up again
//	call.after       what the gateway did, unwritten     as record.before, or polled and looked up again
//	settle.before    everything but the acknowledgement  comes again: as the rows above
//	settle.after     nothing to do; where the server lost    the watchdog wakes the order, which is closed from its
//	                 the close that nothing waits for        result
//
// With a policy the result effect first keeps whose an issued certificate is, and blocks the
// key of one that was revoked for its compromise (owner.go). So whatever stands behind a
// result is there before it, and both writes may be repeated: the first stands.
//
// A ledger that is deleted and made again has no record: a redelivered request, or a wake-up,
// finds result or wake-up on the bus and writes the record that those show. Where neither is
// left and the ledger is younger than the request, the order is indeterminate.
//
// # A bus that lost its last writes
//
// rollback.go compares what was acknowledged with what the leader holds: after each
// connect, before an order goes on, and with each presence. The first worker that misses
// something writes to the control bucket how far ledger and requests had come. An issue
// order without a record whose request is older, and an open record that is older, are
// indeterminate from then on. A handling that began before the loss stops before its next
// effect, so that no acknowledgement takes away what the bus no longer holds; an answer
// of the gateway is decided on again. A call that was not begun is not begun.
//
// A message whose record never came to be and that gets a dead letter only (no readable id,
// or an id of another request) is acknowledged with confirmation, after its letter. Between the two
// its producer is told on entrust.refused.<producer>. That is no effect of the table: a crash
// may lose it or repeat it.
//
// # Messages and the server
//
// Only settle.go answers the server. Consumers have no MaxDeliver and no BackOff: the
// server drops nothing by itself. AckWait covers the pause between two heartbeats;
// messages in flight are extended at a third of it. A message that comes again to the
// worker that has it in flight is left to the handling under way, which answers for both.
// A nats-server that was killed delivers again, and as for the first time, what it had not
// written down as delivered: so a wake-up that was due before the connection was made,
// like one that comes again, is looked up on the result subject before it is polled.
//
// A message that is delivered more than three times is counted in the control bucket
// before each try, and ends as a dead letter `crashed` when three tries ended without a
// word; poison.go says how the one that crashes is told from those beside it.
//
// # The gateway's trouble
//
// throttling.go asks package throttle before each call and tells it how the call ended.
// While no CA can be asked for a lane's operation, the lane does not pull and its
// requests wait in the stream; while few calls are let through, it pulls so many, and
// handles them before it pulls again. The concurrency of a lane counts calls: a message waits
// for room among them before the breaker is asked and its record is written, and gives the
// room back when the gateway has answered. A message that meets an open breaker before its record is
// written goes back; any other waits in a wake-up.
package consumer
