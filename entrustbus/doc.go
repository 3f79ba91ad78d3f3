// Package entrustbus is the contract of the bus that entrust-worker serves, for programs in Go. It has the requests and
// results with both encodings, their subjects and headers, and a client for producers.
//
// # A producer
//
// A producer has a name, and publishes requests to entrust.request.<name>.issue, .revoke, .track and .cancel. Each request
// has an id that the producer chooses. There is one result for it, on entrust.result.<name>.<id>, in spite of
// redelivery, restarts, and the same request published again. [Client] does all of it:
//
//	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
//	…
//	_, err = client.Submit(ctx, &entrustbus.Issue{ID: "order-1", CSRPEM: csr})
//	…
//	result, err := client.Wait(ctx, "order-1")
//
// Choose ids that are the same each time the producer wants the same thing, such as the name and the period of a
// certificate. Then a producer that does not know whether it has asked can ask again, with the certificate request that it
// kept. A certificate request that is signed again is other content. All kinds of request of one producer share one space of
// ids. A worker does not carry out a second request with the same id and other content; the first request's result stands.
// [Client.Submit] returns [ErrOtherContent] if it can detect this. Otherwise the worker detects it, and the request becomes a
// dead letter. Requests carry no Nats-Msg-Id: the server would drop a request with other content under one id, and the
// request of another producer.
//
// # Requests
//
// [Issue] asks for a certificate, [Revoke] for a revocation. [Track] waits for an order that was submitted to the gateway
// before, for example an expired order, by the tracking id in its result. [Cancel] stops waiting for an order. Each is a
// plain struct whose zero fields mean "not given". Validate reports what the contract forbids, as a [*FieldError]. It names
// the key and does not repeat its value, except a name in a certificate request, a number, and an unknown key.
//
// [Complete] and [Resolve] are for operators: they end an order by hand, on subjects that producers cannot publish to.
//
// # Results
//
// A [Result] says in Outcome how the request ended. After two outcomes there is something to do. After expired, the
// order may still be approved: track it. After unconfirmed, the gateway may have the order: an operator decides, and may
// replay the request. A replay makes another result of the same id with a higher Replay. The highest Replay is in force: a
// program that keeps results keeps that one.
//
// [Client.Wait] waits for one result, [Client.Lookup] looks for one. [Client.Results] yields all results of a producer,
// and [Client.ResultsAfter] goes on where a program stopped reading. [Client.Order] shows the phase of an order before it has
// a result, and [Client.Watch] shows each change. [Client.Refused] yields refusals of requests that get no result.
//
// # Questions
//
// A producer may ask before it orders: [Client.Policy] says whether the policy of the workers allows a request, [Client.CA]
// returns the certificates of a CA, and [Client.Check] the setup of a worker. Questions go to entrust.ask.<name>.ca, .check
// and .policy.<kind>. NATS does not store them, and they change nothing.
//
// # On the wire
//
// Payloads are MessagePack maps or JSON objects with the same snake_case keys, and the Content-Type header says which; a
// result comes in the encoding of its request. Times are MessagePack timestamps, or RFC 3339 in UTC; bytes are base64 in
// JSON. `v` is the contract's version. Unknown keys are ignored, whatever they hold; an unknown key near a known one is a
// warning in the result. JSON Schemas of all messages are in docs/schema.
//
// encoding/json writes and reads requests, results, refusals, answers and events as the contract has them.
//
// [DecodeRequest] and [DecodeResult] are safe on any bytes: they refuse the one key that is wrong, and do not allocate by a
// length that the message only declares. Package entrustbustest has messages to test another implementation with.
package entrustbus
