package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// desk is what the verbs that look after orders work at: an open connection, and what
// the streams are called.
type desk struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	layout   streams.Layout
	subjects entrustbus.Subjects
	ledger   *ledger.Ledger
	lot      *parking.Lot
	patience time.Duration
}

// staying are the options of a connection for verbs that wait as long as it takes: it is
// made again whenever it is lost, and people hear of it.
func (a *app) staying() []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				fmt.Fprintf(a.err, "lost the connection to NATS (%v); reconnecting\n", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { fmt.Fprintln(a.err, "connected to NATS again") }),
	}
}

// atDesk connects, does the work, and explains what went wrong.
func (a *app) atDesk(cmd *cobra.Command, work func(context.Context, *desk) error, opts ...nats.Option) error {
	s, err := a.bus(cmd)
	if err != nil {
		return err
	}
	nc, err := s.connect(cmd.Name(), opts...)
	if err != nil {
		return err
	}
	defer nc.Close()
	layout := s.layout()
	return explainDesk(work(cmd.Context(), &desk{
		nc: nc.Conn, js: nc.js, layout: layout, subjects: layout.Subjects(),
		ledger:   ledger.New(nc.js, layout.Orders),
		lot:      parking.New(nc.js, layout.Parked, layout.Subjects()),
		patience: 4 * s.NATS.Timeout,
	}))
}

// step bounds one thing that a verb does, so that a server which does not answer ends it.
func (d *desk) step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d.patience, errNoAnswer)
}

var errNoAnswer = errors.New("JetStream did not answer in time")

// explainDesk adds the likely fix to what the streams answered.
func explainDesk(err error) error {
	if _, ok := errors.AsType[*hintError](err); ok || err == nil {
		return err
	}
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrBucketNotFound),
		errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return withHint(err, "entrust-worker provision creates what is missing; --streams-prefix and its like name what there is")
	case errors.Is(err, nats.ErrNoResponders):
		return withHint(err, "entrust-worker provision creates what is missing; without JetStream, start nats-server with -js, or enable it for the account")
	case errors.Is(err, context.DeadlineExceeded):
		return withHint(fmt.Errorf("%w (%w)", err, errNoAnswer), "may this user use JetStream? --timeout extends the wait")
	}
	if trouble := streams.Trouble(err); trouble != "" {
		return withHint(err, "%s", trouble)
	}
	return explainStreams(err)
}
