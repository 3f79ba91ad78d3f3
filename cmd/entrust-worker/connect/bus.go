// Package connect is the connection to NATS: who the worker is there, how it reconnects,
// and what a failure means to the operator who configured it.
//
// No error and no log line of this package holds the value of a credential setting, of
// the configuration or of a context of the nats command. Files with credentials are read
// here, so that an unreadable one is reported by its key.
package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Bus is an open connection, its JetStream, and what the streams are called. The caller
// closes it. It is safe for concurrent use.
type Bus struct {
	*nats.Conn
	JS       jetstream.JetStream
	Layout   streams.Layout
	Subjects entrustbus.Subjects
	// Patience bounds each step of a verb.
	Patience time.Duration
}

// ErrNoAnswer ends a step of a verb that took longer than the bus's patience.
var ErrNoAnswer = errors.New("JetStream did not answer in time")

// Step bounds one thing that a verb does, so that a server which does not answer ends it.
func (b *Bus) Step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, b.Patience, ErrNoAnswer)
}

// Dialer opens the connection of a verb, as its flags and the rest of the configuration
// say.
type Dialer func(cmd *cobra.Command, opts ...nats.Option) (*Bus, error)

// NewDialer dials as the configuration of loader says.
func NewDialer(loader *config.Loader) Dialer {
	return func(cmd *cobra.Command, opts ...nats.Option) (*Bus, error) {
		s, err := loader.Bus(cmd.Flags())
		if err != nil {
			return nil, err
		}
		return Open(s, loader.Scrubber(), cmd.Name(), opts...)
	}
}

// Work connects, does the work of a verb, and explains what went wrong.
func (d Dialer) Work(cmd *cobra.Command, work func(context.Context, *Bus) error, opts ...nats.Option) error {
	bus, err := d(cmd, opts...)
	if err != nil {
		return err
	}
	defer bus.Close()
	return bus.explainWork(work(cmd.Context(), bus))
}

// Staying are the options of a connection for verbs that wait as long as it takes: it
// reconnects whenever it is lost, and says so on w.
func Staying(w io.Writer) []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				fmt.Fprintf(w, "lost the connection to NATS (%v); reconnecting\n", reason(err))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { fmt.Fprintln(w, "connected to NATS again") }),
	}
}
