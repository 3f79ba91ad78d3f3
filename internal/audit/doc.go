// Package audit is the audit trail: what was decided, for whom, by which rule, in a
// stream that nothing deletes from before its age.
//
// # Chains
//
// Each start of a worker is a chain of its own, named by the worker. A sequencer gives
// each record its number and the SHA-256 of the body before it. It takes what waits as
// one batch, publishes the batch asynchronously, and takes the next one when all of it is
// stored: the stream holds a chain in the order of its numbers. Where a part of a batch
// had to be repeated, the next record of the chain names the numbers that were stored
// late.
//
// # Heads
//
// The first record of a chain, one a day, and the last are heads. A head names the
// last message of the stream with its hash, of whatever chain: so one chain vouches for
// the others. With a key, a head is signed.
//
// # What is proven
//
// A record that was changed, removed, moved or added is found from its chain, from the
// anchors of later heads, or from a gap in the sequence of the stream. What stands behind
// the last head is not proven: its end may be cut off. Without a key, someone who can
// rewrite the whole stream can forge a trail.
//
// # Once
//
// The message id of a record is order, generation and decision. A worker that dies
// between a record and the close of its order leaves the record; the next worker repeats
// it. The server answers that it has the message id; the record is stored then under an
// id of its chain, since its chain goes on from it, and names the first one in a header.
//
// # A full stream
//
// Nothing is dropped. The writer tries again until the stream takes the record, and
// Log.Wait holds up the lanes meanwhile.
package audit
