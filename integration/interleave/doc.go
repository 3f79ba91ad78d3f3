// Package interleave runs the real worker, a real nats-server and the gateway
// simulator inside one testing/synctest bubble, and stops workers before or after
// every single effect of theirs: each message that changes something on the bus,
// each call of the gateway. Time is fake there, so that a lease or a deadline costs
// nothing, and thousands of orders of events can be tried.
//
// What must come of each is taken from the contract and from what the gateway did,
// never from the worker's own table of crashes.
package interleave
