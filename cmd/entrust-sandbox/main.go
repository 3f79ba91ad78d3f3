// Command entrust-sandbox runs everything that entrust-worker needs in one
// process, for a first look and for trying things out: a nats-server with
// JetStream on disk, a gateway simulator behind real mutual TLS, the worker, and
// a producer that sends a batch of requests and checks what came back.
//
//	entrust-sandbox                 a batch, then it stays up until Ctrl-C
//	entrust-sandbox --once --json   a batch, its summary, and an exit code
//	entrust-sandbox gateway         the gateway simulator alone
//
// Exit codes: 0, 1 when something could not be done or the batch did not end as
// planned, 2 for a wrong command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
