// Package order is the life of an order: the record that the ledger keeps of it, its
// phases, and what every event makes of it. It is pure: it knows no server, no gateway
// and no clock, and decides by what it is given. Package consumer carries out what it
// says.
//
// # Who is authoritative
//
// The record says what became of an order; it is written by compare-and-set only.
// Every message on the bus is a reason to look at it: a request that finds its record
// closed is a duplicate, a wake-up that finds its order closed is stale. The result
// subject is written by compare-and-set too, so that of two workers which end one
// generation in the same moment the first is heard.
//
// # Phases
//
// What each phase means for each kind of request. A completion or a resolution by an
// operator has no record of its own: it opens the next generation of its order.
//
//	phase          issue                       revoke                     track                cancel
//	submitting     an enrollment may be        a revocation may be        -                    -
//	               under way, under a lease    under way; repeated
//	unaccepted     no submission was           no call was accepted;      -                    -
//	               accepted, or none was made  repeated
//	               yet; submitted at its turn
//	indeterminate  a submission may have been  a call may have been       -                    waits for its
//	               accepted; looked up, then   accepted; simply repeated                       target
//	               adopted, resubmitted, held
//	awaiting       the gateway has it; polled  -                          polled               -
//	concluded      the end is written, and not yet all of it published
//	closed         the result stands; a replay opens the next generation
//
// A submitting record wakes by its message, once its lease is over. Unaccepted,
// indeterminate and awaiting records wake by their wake-up; a concluded one by its
// message, else by its wake-up.
//
// # Life
//
//	request ──▶ submitting ──▶ POST ─┬─ issued ──────────────▶ result ─▶ closed
//	                ▲                ├─ pending ─▶ awaiting ─┬─ issued ─▶ result ─▶ closed
//	                │                │               ▲       ├─ pending ─▶ wake-up ─┐
//	                │                │               └───────┼──────────────────────┘
//	                │                │                       └─ no, deadline ─▶ concluded ─▶ letter ─▶ result ─▶ closed
//	                │                ├─ refused ─────────────▶ concluded ─▶ letter ─▶ result ─▶ closed
//	                ├─ wake-up ◀─────┼─ not accepted ─▶ unaccepted
//	                │                └─ no answer ─▶ indeterminate ─▶ wake-up ─▶ look-up ─┬─ found ─▶ as answered
//	                └───────────────────────────────── resubmit ◀─────────────────────────┴─▶ hold ─▶ concluded
//
// # Rules that hold the invariants
//
//   - A record is submitting before the call, and the call is made only where that write
//     won. A death in between costs a look-up, never a second enrollment.
//   - A wake-up, or the message itself, exists before the message that brought the event
//     is acknowledged.
//   - An end that a repetition could change is written before its letter and its result.
//     A success is not: it is polled, looked up or revoked again.
//   - A definite answer is written over whatever undecided record stands, whoever wrote
//     that: a worker that holds a tracking id never throws it away.
//   - Only a look-up, an operator, or the setting on_lost_reply leads from indeterminate
//     back to submitting.
//   - A look-up tells of the submissions that were made before it, and it is made once
//     the gateway must show them: that counts from the record of the submission, which
//     its worker may have written late.
//   - Any wake-up or due message of an order is a reason to look at it, also one of an
//     earlier generation: it may have replaced that of the generation in force.
//   - The policy is asked before the first submission and before each further one. A refusal
//     ends an order that no submission of may have been accepted; one that the gateway may
//     have is looked up, polled, or held, and is not submitted again. A revocation that may
//     be done is repeated: it was allowed when it began.
//   - What waits, waits in a wake-up. Waits that a refusal caused add up, and end at
//     Settings.SubmitMaxWait; waits for an open breaker or a pause do not.
//   - What no message can hold is said in fewer words: a result without its chain, then
//     without labels, then as failed with the serial; a wake-up without the request that
//     the record keeps. An order that cannot wait ends.
//   - No instant of another host is believed further than a worker may have set it, and
//     leases are ages between two readings of the server's clock.
//
// A cancellation is two decisions: its own record says that it waits for its target;
// the target gets Cancelled and ends; then the cancellation gets Targeted. A worker that
// dies in between repeats both.
package order
