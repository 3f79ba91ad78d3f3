// Package snapshot reads the state of a fleet from the bus alone: its workers, open
// breakers, pauses, suspensions, lanes, waiting orders, dead letters and streams. The
// verb status prints a Snapshot, the status page renders one, and the metrics of the bus
// come from the same Reader.
//
//	r := snapshot.New(js, layout)
//	s := r.Read(ctx)            // every few seconds; never an error
//	for _, p := range s.Problems(time.Now()) { … }
//
// Reading changes nothing. It needs the permissions of the monitor in
// deploy/nats/permissions.conf.
//
// A Snapshot has parts, each with the time of its reading. A part that cannot be read now
// keeps the values of its last reading and has a Problem: show its figures as stale since
// Part.At. A part with a zero At was never read: show no figure of it.
//
// Times are by this host's clock: compare them with time.Now. NATS.Skew is the difference
// to the server's clock. Texts may come from a gateway or another worker: each is one
// line, and untrusted.
package snapshot
