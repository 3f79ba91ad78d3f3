package connect

import (
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/natscontext"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// Open opens the connection that a verb works with. It fails at once where NATS cannot be
// reached, or does not let this user receive answers. scrub learns the credentials of a
// context.
func Open(s *config.Settings, scrub *config.Scrubber, verb string, opts ...nats.Option) (*Bus, error) {
	bus, err := dial(s, scrub, append([]nats.Option{nats.Name("entrust-worker " + verb), nats.ErrorHandler(quiet)}, opts...)...)
	if err != nil {
		return nil, err
	}
	if err := checkInbox(bus.Conn); err != nil {
		bus.Close()
		return nil, err
	}
	return bus, nil
}

// quiet takes the place of nats.go's own handler, which prints. What a verb does not get
// ends it with an error.
func quiet(*nats.Conn, *nats.Subscription, error) {}

// OpenForever opens the connection of a worker: it is made as soon as NATS can be
// reached, and made again whenever it is lost. What happens to it is logged. closed is
// called when it is over for good, Close included.
func OpenForever(s *config.Settings, scrub *config.Scrubber, log *slog.Logger, closed func()) (*Bus, error) {
	host, _ := os.Hostname()
	// nats.go calls all handlers from one goroutine.
	away := outage{since: time.Now()}
	return dial(s, scrub,
		nats.Name(strings.TrimSpace("entrust-worker "+host)),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Second),
		nats.ReconnectJitter(500*time.Millisecond, time.Second),
		// Credentials are replaced on disk or at the server while we wait: a refusal is
		// an outage like any other. nats.go would give up after the second.
		nats.IgnoreAuthErrorAbort(),
		nats.ClosedHandler(func(*nats.Conn) { closed() }),
		nats.PingInterval(10*time.Second),
		nats.ConnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS", append(away.end(), "url", nc.ConnectedUrlRedacted(), "version", nc.ConnectedServerVersion())...)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			away = outage{since: time.Now(), tries: 1}
			if err != nil {
				log.Warn("lost the connection to NATS; reconnecting", "err", reason(err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS again", append(away.end(), "url", nc.ConnectedUrlRedacted())...)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			away.tries++
			log.Warn("cannot reach NATS; trying again", "err", reason(err))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if denied := Denied(err); denied != nil {
				log.Error("NATS denies a permission", "err", denied, "hint", usage.Hint(denied))
				return
			}
			if sub != nil {
				log.Error("NATS reports an error", "subject", sub.Subject, "err", reason(err))
				return
			}
			log.Error("NATS reports an error", "err", reason(err))
		}),
	)
}

// outage is a time without a connection.
type outage struct {
	since time.Time
	tries int // 0: there is none
}

// end ends the outage, and returns what the log says of it.
func (o *outage) end() []any {
	tries := o.tries
	o.tries = 0
	if tries == 0 {
		return nil
	}
	return []any{"outage", time.Since(o.since).Round(time.Millisecond), "tries", tries}
}

func dial(s *config.Settings, scrub *config.Scrubber, opts ...nats.Option) (*Bus, error) {
	own, err := options(s)
	if err != nil {
		return nil, err
	}
	var nc *nats.Conn
	domain, prefix := s.NATS.JSDomain, ""
	if s.NATS.Context == "" {
		nc, err = nats.Connect(strings.Join(servers(s), ","), append(own, opts...)...)
	} else {
		var login []nats.Option
		if login, err = checkContext(s, scrub); err != nil {
			return nil, err
		}
		var known natscontext.Settings
		nc, known, err = natscontext.Connect(s.NATS.Context, append(append(login, own...), opts...)...)
		if domain == "" {
			domain, prefix = known.JSDomain, known.JSAPIPrefix
		}
	}
	if err != nil {
		return nil, explainDial(s, err)
	}
	js, err := newJetStream(nc, domain, prefix, s.NATS.Timeout)
	if err != nil {
		nc.Close()
		return nil, usage.Wrap(err)
	}
	layout := s.Layout()
	return &Bus{Conn: nc, JS: js, Layout: layout, Subjects: layout.Subjects(), Patience: 4 * s.NATS.Timeout}, nil
}

func newJetStream(nc *nats.Conn, domain, prefix string, timeout time.Duration) (jetstream.JetStream, error) {
	opts := []jetstream.JetStreamOpt{jetstream.WithDefaultTimeout(timeout)}
	switch {
	case domain != "":
		return jetstream.NewWithDomain(nc, domain, opts...)
	case prefix != "":
		return jetstream.NewWithAPIPrefix(nc, prefix, opts...)
	default:
		return jetstream.New(nc, opts...)
	}
}

// servers are the configured URLs, without a user where other credentials count.
func servers(s *config.Settings) []string {
	var all []string
	for u := range strings.SplitSeq(s.NATS.URL, ",") {
		if u = strings.TrimSpace(u); s.Unused("nats.url") {
			u = withoutUser(u)
		}
		all = append(all, u)
	}
	return all
}

func withoutUser(u string) string {
	scheme, rest, found := strings.Cut(u, "://")
	if !found {
		scheme, rest = "nats", u
	}
	return scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
}
