// Package audit is the audit trail: each decision with its producer, its order and its
// rule. No message of its stream is deleted before the stream's maximum age.
//
// # Chains
//
// Each start of a worker begins a chain, named by the worker. A sequencer gives each
// record its number and the SHA-256 of the body before it. The sequencer publishes
// waiting records asynchronously as one batch, and takes the next batch when all of it is
// stored. So the stream holds a chain in the order of its numbers. If a part of a batch
// had to be repeated, the next record of the chain names the numbers that were stored
// late.
//
// # Heads
//
// The first and the last record of a chain, and one record a day, are heads. A head names
// the last message of the stream, of any chain, and its hash. So each chain vouches for
// the others. With a key, the worker signs its heads.
//
// # What the trail proves
//
// A record that was changed, removed, moved or added shows in its chain, in the anchors
// of later heads, or as a gap in the stream's sequence. Records behind the last head are
// not proven: they may be cut off. Without a key, an attacker who can rewrite the whole
// stream can forge a trail.
//
// # Once
//
// The message id of a record is order, generation and decision. If a worker dies after it
// wrote a record and before it closed the order, the next worker repeats the record. The
// server answers that it has the message id already. The worker then stores its record
// under an id of its own chain, because the chain continues from it, and names the first
// record in a header.
//
// # A full stream
//
// The worker drops no record. The writer tries again until the stream takes the record,
// and Log.Wait holds up the lanes meanwhile.
package audit
