// Package find finds orders on the bus: the newest first, by what a person knows of them.
//
// # How
//
// The ledger is a log of the last record of each order, and the server filters by subject
// alone. A search reads it backwards, some 100,000 records a second, and stops at its time. So
// that a search finds old orders too, it asks first what the bus has in an order of its own:
//
//	looked for                                     asked
//	failed, rejected, expired, unconfirmed         dead letters, by producer
//	waiting, in trouble, by wake-up                the parked stream
//	serial                                         the bucket of certificates, by its key
//	name                                           results, dead letters, the parked stream
//
// No index is written for it: an order costs the worker nothing more. Found says how far the
// ledger was read, so that a caller can say what may be missing.
package find
