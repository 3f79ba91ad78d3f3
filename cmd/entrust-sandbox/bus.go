package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// defaultBusAddr is where the nats command looks when it is told nothing.
const defaultBusAddr = "127.0.0.1:4222"

// ackWait is how long messages wait for redelivery after a process was killed. It is
// above every timeout of the worker's calls, and the same in all runs, since consumers
// keep what they were created with.
const ackWait = 15 * time.Second

// bus is the embedded nats-server, and the sandbox's own connection to it.
type bus struct {
	server *testbed.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	layout streams.Layout
}

// startBus runs a nats-server that keeps its streams below dir, and provisions
// them. addr "" is the default one, or any free one where that is taken.
func startBus(ctx context.Context, dir, addr string) (*bus, error) {
	addr, err := busAddr(ctx, addr)
	if err != nil {
		return nil, err
	}
	srv, err := testbed.Run(testbed.Config{Dir: filepath.Join(dir, "nats"), Name: "entrust-sandbox", Addr: addr})
	if err != nil {
		return nil, err
	}
	b := &bus{server: srv, layout: streams.DefaultLayout()}
	b.layout.AckWait = ackWait
	if err := b.connect(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// connect provisions the streams and checks them as a worker would.
func (b *bus) connect(ctx context.Context) error {
	var err error
	if b.nc, err = b.server.Connect(nats.Name("sandbox")); err != nil {
		return fmt.Errorf("connecting to nats-server: %w", err)
	}
	if b.js, err = jetstream.New(b.nc); err != nil {
		return err
	}
	if _, err := streams.Provision(ctx, b.js, b.layout); err != nil {
		return err
	}
	return streams.Verify(ctx, b.js, b.layout)
}

func (b *bus) url() string { return b.server.URL }

func (b *bus) close() {
	if b.nc != nil {
		b.nc.Close()
	}
	b.server.Stop()
}

// busAddr returns where to listen: at addr, or where that is "" at the default
// address, or at any port where that is taken. It tries first: nats-server itself
// would only be silent about an address that is taken.
func busAddr(ctx context.Context, addr string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cmp.Or(addr, defaultBusAddr))
	if err != nil && addr == "" {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("listening for NATS clients: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// parked is how many orders wait.
func (b *bus) parked(ctx context.Context) (int, error) {
	return oracle.Messages(ctx, b.js, b.layout.Parked)
}

var errInterrupted = errors.New("interrupted before the batch had ended")
