// Package entrustbus is the contract of the bus that entrust-worker serves, for programs in Go: the requests and results
// with both encodings, the subjects and headers they travel with, and a client for producers.
//
// # A producer
//
// A producer has a name, and publishes requests to entrust.request.<name>.issue, .revoke, .track and .cancel. Each request
// has an id that the producer chooses. There is one result for it, on entrust.result.<name>.<id>, whatever happens
// between: redelivery, restarts, the same request published again. [Client] does all of it:
//
//	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
//	…
//	_, err = client.Submit(ctx, &entrustbus.Issue{ID: "order-1", CSRPEM: csr})
//	…
//	result, err := client.Wait(ctx, "order-1")
//
// Choose ids that say the same thing each time the same thing is wanted, such as the name and the period of a certificate.
// Then a producer that does not know whether it has asked simply asks again, with the certificate request that it kept: one
// that is signed again is other content. All kinds of request of one producer share one space of ids; the same id with other
// content is not done, and the first request's result stands. [Client.Submit] says so with [ErrOtherContent] where it can
// tell; otherwise the worker finds out, and the request becomes a dead letter. Requests carry no Nats-Msg-Id: the server
// would drop other content under one id unread, and the request of another producer.
//
// # Requests
//
// [Issue] asks for a certificate, [Revoke] for a revocation. [Track] waits for an order that was submitted to the gateway
// before: one that expired, say, by the tracking id in its result. [Cancel] stops the waiting for an order. Each is a plain
// struct whose zero fields mean "not given", and says in Validate what the contract forbids, as a [*FieldError] that
// names the key and does not repeat what was in it, but for a name in a certificate request, a number, and an unknown key.
//
// [Complete] and [Resolve] are for operators, who end an order by hand with them, on subjects that producers cannot
// publish to.
//
// # Results
//
// A [Result] says in Outcome how the request ended. Two of them leave something to do: expired (nobody decided in time, the
// order may still be decided: track it) and unconfirmed (the gateway's answer was lost; an operator decides, and may replay
// the request). A replay makes another result of the same id with a higher Replay, and that one is in force: a program that
// keeps results keeps the highest.
//
// [Client.Wait] waits for one result, [Client.Lookup] looks for one. [Client.Results] yields all of a producer's, and
// [Client.ResultsAfter] goes on where a program stopped reading. [Client.Order] shows where an order is in its life before it
// has a result, and [Client.Watch] each change. [Client.Refused] yields what workers say of requests that get no result.
//
// # Questions
//
// A producer may ask before it orders: [Client.Policy] says what the policy of the workers says of a request, [Client.CA]
// has the certificates of a CA, and [Client.Check] how a worker sees its setup. Questions go to entrust.ask.<name>.ca,
// .check and .policy.<kind>; they are not stored, and change nothing.
//
// # On the wire
//
// Payloads are MessagePack maps or JSON objects with the same snake_case keys, told apart by the Content-Type header; a
// result comes in the encoding of its request. Times are MessagePack timestamps, or RFC 3339 in UTC; bytes are base64 in
// JSON. `v` is the contract's version. Unknown keys are ignored, whatever they hold; one that is near a known key is a
// warning in the result. JSON Schemas of all messages are in docs/schema.
//
// encoding/json writes and reads requests, results, refusals, answers and events as the contract has them.
//
// [DecodeRequest] and [DecodeResult] are safe on anything that a bus may carry: they refuse the one key that is wrong, and
// allocate by no length that the message only declares. Messages to test
// another implementation with are in package entrustbustest.
package entrustbus
