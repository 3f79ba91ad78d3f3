// Package order is the life of an order: its record in the ledger, its phases, and the
// decision about every event. It is pure: it has no server, no gateway and no clock, and
// decides from its arguments alone. Package consumer carries out its decisions.
//
// # The record decides
//
// The record says where an order is in its life. Workers write it by compare-and-set only.
// A message on the bus is a reason to read the record: a request whose record is closed is
// a duplicate, and a wake-up whose order is closed is stale. Workers write the result subject by
// compare-and-set too: when two workers end one generation at the same moment, the
// first result stands.
//
// # Phases
//
// What each phase means for each kind of request. A completion or a resolution by an
// operator has no record of its own: it opens the next generation of its order.
//
//	phase          issue                       revoke                     track                cancel
//	submitting     an enrollment may be        a revocation may be        -                    -
//	               under way, under a lease    under way; repeated
//	unaccepted     the gateway accepted none,  no call was accepted;      -                    -
//	               or none was made yet;       repeated
//	               submitted at its turn
//	indeterminate  a submission may have been  a call may have been       -                    waits for its
//	               accepted; looked up, then   accepted; repeated                              target
//	               adopted, resubmitted, held
//	awaiting       the gateway has it; polled  -                          polled               -
//	concluded      the end is in the record, and not all of it is published yet
//	closed         the result stands; a replay opens the next generation
//
// A submitting record wakes by its message, once its lease is over. Unaccepted,
// indeterminate and awaiting records wake by their wake-up. A concluded record wakes by its
// message, or else by its wake-up.
//
// # Life
//
//	request ──▶ submitting ──▶ POST ─┬─ issued ──────────────▶ result ─▶ closed
//	                ▲                ├─ pending ─▶ awaiting ─┬─ issued ─▶ result ─▶ closed
//	                │                │               ▲       ├─ pending ─▶ wake-up ─┐
//	                │                │               └───────┼──────────────────────┘
//	                │                │                       └─ no, deadline ─▶ concluded ─▶ dead letter ─▶ result ─▶ closed
//	                │                ├─ refused ─────────────▶ concluded ─▶ dead letter ─▶ result ─▶ closed
//	                ├─ wake-up ◀─────┼─ not accepted ─▶ unaccepted
//	                │                └─ no answer ─▶ indeterminate ─▶ wake-up ─▶ look-up ─┬─ found ─▶ as answered
//	                └───────────────────────────────── resubmit ◀─────────────────────────┴─▶ hold ─▶ concluded
//
// # Rules that hold the invariants
//
//   - A record is submitting before the call, and the worker calls only where that write
//     won. A crash in between costs a look-up, never a second enrollment.
//   - A wake-up, or the message itself, exists before the worker acknowledges the message
//     that brought the event.
//   - An end that a repetition could change is in the record before its dead letter and its
//     result. A success is not: the worker polls, looks up or revokes again.
//   - A definite answer is written over an undecided record, even of another
//     worker: a worker that holds a tracking id never throws it away.
//   - Only a look-up, an operator, or the setting on_lost_reply or on_rollback leads from
//     indeterminate back to submitting.
//   - A look-up covers the submissions that were made before it. It waits until
//     the gateway must show them. That time counts from the record of the submission, which
//     its worker may have written late.
//   - Any wake-up or due message of an order is a reason to read its record, even one of an
//     earlier generation: it may have replaced the wake-up of the generation in force.
//   - The policy is asked before the first submission and before each further one. A refusal
//     ends an order that the gateway cannot have. An order that the gateway may have is looked
//     up, polled or held, and is not submitted again. A revocation that may be done is
//     repeated: it was allowed when it began.
//   - Orders wait in wake-ups. Waits after a refusal add up, and end at
//     Settings.SubmitMaxWait. Waits for an open breaker or a pause do not count.
//   - A result that no message can hold is cut: published without its chain, then without
//     labels, then as failed with the serial. A wake-up is cut too: it leaves out the request
//     that the record keeps. An order that cannot wait ends.
//   - An instant of another host is capped at what a worker may have set. Leases are ages
//     between two readings of the server's clock.
//
// A cancellation is two decisions. Its own record says that it waits for its target.
// The target gets Cancelled and ends. Then the cancellation gets Targeted. A worker that
// dies in between repeats both.
package order
