// Package harness runs whole installations of the worker for the tests of this
// folder and its commands: worker processes that can be killed the hard way, real
// NATS servers, the gateway simulator, wires between them that can be disturbed,
// producers, and an oracle that judges what is left in the end.
//
// The oracle asks the simulator and the streams only. It knows nothing of how
// the worker works, so that a mistake in the worker cannot be repeated in it.
//
// Nothing that entrust-worker is built from may import it.
package harness
