// Package consumer is the life of a request: taken off the bus, brought to the
// gateway, parked while people decide, and ended with one result.
//
// # Who is authoritative
//
// The ledger (package ledger) says what became of an order; it is written by
// compare-and-set only. Everything on the bus is a reason to look at it: a
// request that finds its record closed is a duplicate, a wake-up that finds its
// order closed is stale. The result subject is written by compare-and-set too,
// so that of two workers which end one order in the same moment only the first
// is heard. Nothing that decides about an effect is read from a replica.
//
// # Life of an issue order
//
//	request ─ open ─▶ POST ─┬▶ issued ──────────────▶ check ─▶ finish
//	                   ▲    ├▶ pending ─▶ parked ─▶ slot ─▶ ack
//	                   │    │                        │ due
//	                   │    │       ┌────────────────┘
//	                   │    │       ▼
//	                   │    │      GET ─┬▶ issued ───▶ check ─▶ finish
//	                   │    │           ├▶ rejected ──────────▶ finish
//	                   │    │           ├▶ pending ─▶ slot ─▶ ack
//	                   │    │           ├▶ pending at the deadline ─▶ finish expired
//	                   │    │           └▶ refused ───────────▶ finish unconfirmed
//	                   │    ├▶ refused ─────────────────────────▶ finish failed
//	                   │    ├▶ not taken for sure ─▶ wait at the gate ─▶ POST, same submission
//	                   │    │      again and again ─▶ set aside in a slot ─▶ POST, same submission
//	                   │    └▶ unknown ─▶ slot ─▶ look up ───┬▶ found ─▶ check ─▶ finish
//	                   │                                     └▶ not found, or cannot look
//	                   └──────────── resubmit ◀──────────────────┴──▶ hold ─▶ finish unconfirmed
//
// finish is: dead letter (where there is one; the answer is kept in the ledger
// before it) ─▶ result ─▶ ledger closed ─▶ slot removed ─▶ ack. The states of a record are open (with Posting set while a call
// that creates something may be under way), parked and closed. A replay opens a
// closed record again under the next generation; one whose order the gateway
// already has (expired, unconfirmed or cancelled with a tracking id) goes to
// parked and is never submitted again. A parked record without a tracking id was
// set aside: its slot brings back the request, and nothing else does.
//
// # What a death leaves, and what the next delivery does
//
// Every row is an edge at which a test kills the worker.
//
//	died after                      next delivery finds      and does
//	fetch                           no record                the first attempt
//	record open, Posting            open, lease live         waits for the lease's end: slow is not dead
//	                                open, lease over         looks at the result subject, then reconciles
//	gateway refused to take it,     open, Posting            the same; nothing is lost by asking
//	not recorded
//	not taken, recorded             open, not Posting        takes it over, same submission count
//	gateway answered                open, Posting            reconciles: adopts, resubmits or holds
//	answer kept in the ledger       open, Answer             publishes the kept result
//	record parked, or set aside     parked, no slot          arms the slot, acks
//	slot armed                      parked, slot             acks
//	taken up from a slot            open, wake-up            as the open rows above; the wake-up is its request
//	GET answered                    parked                   asks again
//	slot armed again, due not       parked                   asks again; the two wake-ups meet in one slot
//	acked
//	dead letter published           open, Answer; or parked  repeats the end; the letter's id makes it one within the
//	                                                         duplicate window, later there are two of one death
//	result published                open or parked, result   closes, acks
//	closed                          closed                   acks (a due: stale, acks)
//	slot removed                    closed                   acks
//	ledger deleted, made again      no record; result, slot  writes the record that they tell of, then the above
//	                                no record, older than    waits for a lease's time, reconciles
//	                                the ledger
//	                                no record, younger       the first attempt
//
// The ledger is written before the slot. A record that says parked holds the
// request itself, so that a lost slot costs a wait and never the order; a slot
// holds it too, so that a lost ledger is restored from the slots. Revocations
// may be repeated, so a death costs them only another call.
//
// A cancellation publishes the order's result `cancelled`, then closes its
// record, then removes its slot, then publishes its own result. A poll that is
// under way meets the first of these and reports the late certificate in the
// log; a track request fetches it. An order that the gateway provably did not take
// is cancelled too: the answer is kept in its record first, by compare-and-set, and
// the worker that has it in hand fails to write that it calls again. While a call
// may be under way a cancellation waits.
//
// A write that the server is still replicating, and a record that went with its
// bucket, are no conflict: the first is tried again until it shows, the second
// written anew.
//
// # Messages and the server
//
// Only settle.go answers the server. The table there says what each outcome of a
// handler becomes. Consumers have no MaxDeliver and no BackOff: nothing is ever
// dropped by the server. AckWait covers the pause between two heartbeats; what is
// in hand is extended at a third of it, and a message that was given to somebody
// else meanwhile is told by its record. One that comes again to the worker that has
// it in hand is left to the handling under way, which answers for both. A
// nats-server that was killed delivers again, and as for the first time, what it
// had not written down as delivered: so a wake-up that was due before the
// connection was made, like one that comes again, is looked up on the result
// subject before it is a reason to poll. Two workers that meet in one all the same
// cost one poll more, and nothing else. A message that is delivered more than three
// times is counted in the control bucket before each try, and ends as a dead letter
// `crashed` when three of them ended without a word. A death counts for everything
// that the worker had in hand; what has a count is tried with nothing else in hand,
// so that the next death tells that it was it. It waits at the gate before it is
// counted, and for the rest in hand for a short time only, which grows with its
// age; then it goes back for four times as long.
//
// # The gateway's trouble
//
// Calls pass a gate. It shuts after five calls in a row that the gateway did
// not answer, at once when it refuses our credentials, and until an instant
// that the gateway asked for, which the fleet shares through the control bucket.
// A 403 is held against a probe first: where that is answered, it is about one order
// or one right, and pauses nobody. While the gate is shut, lanes do not fetch,
// messages in hand stay in hand, and a prober asks for the CA until it is answered.
// Under a limited rate, requests and polls take turns.
package consumer
