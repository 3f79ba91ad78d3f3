// Package find finds orders on the bus, newest first, by the facts that an operator has.
//
// # How
//
// The ledger holds the last record of each order, and the server filters by subject
// alone. A search reads the ledger backwards, about 100,000 records a second, and stops
// at its time limit. To find old orders too, it first reads the parts of the bus that are
// ordered otherwise:
//
//	search for                                     source read first
//	failed, rejected, expired, unconfirmed         dead letters, by producer
//	waiting, in trouble, by wake-up                the parked stream
//	serial                                         the bucket of certificates, by its key
//	name                                           results, dead letters, the parked stream
//
// The worker writes no index for searches, so they add no cost to an order. Found says
// how far the search read the ledger, so that a caller can say which orders may be
// missing.
package find
