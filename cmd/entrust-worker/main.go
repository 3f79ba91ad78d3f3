// Command entrust-worker stands between NATS JetStream and the Entrust CA Gateway: it
// takes issuance and revocation requests from the bus, has the gateway carry them out,
// and publishes one result for each. Run it with --help for its verbs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// release and revision are set by the linker where the build knows better than the module
// system: -ldflags "-X main.release=v1.2.3 -X main.revision=<commit>".
var release, revision string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// With the first signal the default action comes back: a second one ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
