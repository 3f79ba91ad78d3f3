// Package timeline reads the story of one order from the bus: its events in order of
// time, and why it waits. The verbs, the status page and the micro service show it.
//
// # Use
//
// New makes a Reader, and Reader.Read returns a Story. A Story has the facts of the order
// (Facts), one sentence that says why it waits (Facts.Waits), and a list of entries.
// Facts alone cost one read: FactsOf derives them from a ledger record.
//
// # Sources
//
// The ledger keeps the last record of an order and no history. The story comes from other
// parts of the bus: the request while it is in its stream, the wake-up, one result per
// generation, dead letters, and the audit trail if it exists. If a source cannot be read,
// or only in part, Story.Notes says so; the rest of the story is valid.
//
// # Untrusted text
//
// Labels, names, messages of the gateway and reasons of operators come from others. Code
// that prints or renders them must escape them. No entry holds a certificate request, a
// certificate or a key.
package timeline
