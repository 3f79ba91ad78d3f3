// Package interleave runs the real worker, a real nats-server and the gateway simulator
// inside one testing/synctest bubble. It stops workers before or after every single
// effect: each message that changes the bus, and each call of the gateway. Time is fake
// in the bubble, so leases and deadlines cost no real time, and a test can try thousands
// of orders of events.
//
// The tests take the expected outcome from the contract and from the gateway's actions,
// never from the worker's own crash table.
package interleave
