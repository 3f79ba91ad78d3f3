// Package timeline reads the story of one order from the bus: what happened to it, in order of
// time, and why it waits. The verbs, the status page and the micro service show it.
//
// # Use
//
// New makes a Reader, and Reader.Read returns a Story. A Story has the facts of the order
// (Facts), one sentence that says why it waits (Facts.Waits), and a list of entries. Facts
// alone cost one read: FactsOf makes them of a ledger record.
//
// # Sources
//
// The ledger keeps the last record of an order and no history. The story comes from what else
// the bus keeps: the request while it is in its stream, the wake-up, one result per generation,
// dead letters, and the audit trail where there is one. A source that cannot be read, or of
// which only a part was read, is a note in Story.Notes; the rest of the story stands.
//
// # Untrusted text
//
// Labels, names, messages of the gateway and reasons of operators are text of others. A reader
// that prints or renders them escapes them. No entry holds a certificate request, a certificate
// or a key.
package timeline
