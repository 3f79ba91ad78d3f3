// Package integration runs complete workers against real NATS servers and the gateway
// simulator: deaths at every failpoint of the crash table, clusters that lose servers,
// chaos by seed, and hostile messages. Package internal/testbed starts the processes, and
// its oracle checks the outcome.
//
//	go test ./integration                       what needs no processes of its own
//	go test -tags integration ./integration     deaths and clusters too; some 4 minutes
//	go run ./integration/chaos --seed 7 --for 2m
//	go run ./integration/chaos --scenario parking --seeds 20
//	go run ./integration/chaos --help                        lists the scenarios
package integration
