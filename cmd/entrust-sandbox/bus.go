package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// defaultBusAddr is where the nats command looks when it is told nothing.
const defaultBusAddr = "127.0.0.1:4222"

// busReady bounds the start of the embedded server, the recovery of its streams
// included.
const busReady = 30 * time.Second

// ackWait is how long messages stay in nobody's hands after a process was
// killed. It is above every timeout of the worker's calls, and the same in all
// runs, since consumers keep what they were created with.
const ackWait = 15 * time.Second

// bus is the embedded nats-server, and the sandbox's own connection to it.
type bus struct {
	server *server.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	layout streams.Layout
}

// startBus runs a nats-server that keeps its streams below dir, and provisions
// them. addr "" is the default one, or any free one where that is taken.
func startBus(ctx context.Context, dir, addr string) (*bus, error) {
	host, port, err := busAddr(ctx, addr)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "entrust-sandbox", Host: host, Port: port,
		JetStream: true, StoreDir: filepath.Join(dir, "nats"),
		// Streams reserve what they may grow to. Left alone, the server offers a
		// share of the free disk, which a small disk makes too little.
		JetStreamMaxStore: 64 << 30,
		NoLog:             true, NoSigs: true,
	})
	if err != nil {
		return nil, fmt.Errorf("setting nats-server up: %w", err)
	}
	b := &bus{server: srv, layout: streams.DefaultLayout()}
	b.layout.AckWait = ackWait
	srv.Start()
	if !srv.ReadyForConnections(busReady) {
		b.close()
		return nil, fmt.Errorf("starting nats-server on %s port %d: not ready within %v", host, port, busReady)
	}
	if err := b.connect(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// connect provisions the streams and checks them as a worker would.
func (b *bus) connect(ctx context.Context) error {
	var err error
	if b.nc, err = nats.Connect(b.url(), nats.Name("sandbox"), nats.MaxReconnects(-1)); err != nil {
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

func (b *bus) url() string { return b.server.ClientURL() }

func (b *bus) close() {
	if b.nc != nil {
		b.nc.Close()
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// busAddr returns where to listen: at addr, or where that is "" at the default
// address, or at any port where that is taken. It tries first: nats-server itself
// would only be silent about an address that is taken.
func busAddr(ctx context.Context, addr string) (host string, port int, err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cmp.Or(addr, defaultBusAddr))
	if err != nil && addr == "" {
		return "127.0.0.1", server.RANDOM_PORT, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("listening for NATS clients: %w", err)
	}
	at := l.Addr().(*net.TCPAddr)
	if _, asked, _ := net.SplitHostPort(addr); asked == "0" {
		at.Port = server.RANDOM_PORT
	}
	return at.IP.String(), at.Port, l.Close()
}

// unsettled is how many messages of the request and parking streams nobody has
// acknowledged yet.
func (b *bus) unsettled(ctx context.Context) (requests, parked uint64, err error) {
	var counts [2]uint64
	for i, name := range []string{b.layout.Requests, b.layout.Parked} {
		s, err := b.js.Stream(ctx, name)
		if err != nil {
			return 0, 0, fmt.Errorf("reading stream %s: %w", name, err)
		}
		counts[i] = s.CachedInfo().State.Msgs
	}
	return counts[0], counts[1], nil
}

// settle waits a while for both streams to be empty, so that what a worker does
// after a result is done too. What is left then belongs to nobody's result.
func (b *bus) settle(ctx context.Context, within time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		requests, parked, err := b.unsettled(ctx)
		if err != nil || requests+parked == 0 {
			return
		}
		if wait(ctx, 50*time.Millisecond) != nil {
			return
		}
	}
}

var errInterrupted = errors.New("interrupted before the batch had ended")

// wait waits for d, or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
