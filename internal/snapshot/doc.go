// Package snapshot reads how a fleet of workers is from the bus alone: its workers, open
// breakers, pauses, suspensions, lanes, waiting orders, dead letters and streams. The verb
// status prints a Snapshot, the status page renders one, and the metrics of the bus are read
// by the same Reader.
//
//	r := snapshot.New(js, layout)
//	s := r.Read(ctx)            // every few seconds; never an error
//	for _, p := range s.Problems(time.Now()) { … }
//
// Reading changes nothing, and needs what the monitor of deploy/nats/permissions.conf may do.
//
// A Snapshot has parts, each with the instant of its reading. A part that cannot be read now
// keeps the values of its last reading, and says why: show its figures as stale since
// Part.At. A part with the zero At was never read: show no figure of it.
//
// Instants are by the clock of this host, whatever the server's says: compare them with
// time.Now. NATS.Skew says how far apart the two clocks are. Texts may come from a gateway or
// from another worker: they are one line, and untrusted.
package snapshot
