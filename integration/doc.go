// Package integration runs whole workers against real NATS servers and the gateway
// simulator: deaths at every edge of the crash table, clusters that lose servers,
// chaos by seed, and hostile messages. Package
// internal/testbed starts what they run, and its oracle checks what is left.
//
//	go test ./integration                       what needs no processes of its own
//	go test -tags integration ./integration     deaths and clusters too; some 4 minutes
//	go run ./integration/chaos --seed 7 --for 2m
//	go run ./integration/chaos --scenario parking --seeds 20
//	go run ./integration/chaos --help                        lists the scenarios
package integration
