package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/synadia-io/orbit.go/natscontext"
	"golang.org/x/net/proxy"
)

// connection is an open connection and its JetStream.
type connection struct {
	*nats.Conn
	js jetstream.JetStream
}

// connect opens the connection a verb works with. It fails at once where NATS cannot be
// reached. The caller closes the connection.
func (s *settings) connect(name string, opts ...nats.Option) (*connection, error) {
	return s.dial(append(opts, nats.Name("entrust-worker "+name))...)
}

// connectForever opens the connection of a worker: it is made as soon as NATS can be
// reached, and made again whenever it is lost. What happens to it is logged. closed is
// called when it is over for good, Close included.
func (s *settings) connectForever(log *slog.Logger, closed func()) (*connection, error) {
	host, _ := os.Hostname()
	return s.dial(
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
			log.Info("connected to NATS", "url", nc.ConnectedUrlRedacted(), "version", nc.ConnectedServerVersion())
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("lost the connection to NATS; reconnecting", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted())
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Warn("NATS cannot be reached; trying again", "err", err)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if sub != nil {
				log.Error("NATS reports an error", "subject", sub.Subject, "err", err)
				return
			}
			log.Error("NATS reports an error", "err", err)
		}),
	)
}

func (s *settings) dial(opts ...nats.Option) (*connection, error) {
	own, err := s.natsOptions()
	if err != nil {
		return nil, err
	}
	opts = append(own, opts...)
	domain, prefix := s.NATS.JSDomain, s.NATS.JSAPIPrefix
	var nc *nats.Conn
	if s.NATS.Context == "" {
		nc, err = nats.Connect(strings.Join(s.servers(), ","), opts...)
	} else {
		var context natscontext.Settings
		nc, context, err = natscontext.Connect(s.NATS.Context, opts...)
		if domain == "" && prefix == "" {
			domain, prefix = context.JSDomain, context.JSAPIPrefix
		}
	}
	if err != nil {
		return nil, s.explain(err)
	}
	js, err := newJetStream(nc, domain, prefix, s.NATS.Timeout)
	if err != nil {
		nc.Close()
		return nil, &usageError{err}
	}
	return &connection{nc, js}, nil
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
func (s *settings) servers() []string {
	var all []string
	for u := range strings.SplitSeq(s.NATS.URL, ",") {
		if u = strings.TrimSpace(u); s.unused["nats.url"] != "" {
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

// natsOptions are the options for what is configured. Files are opened here, so that an
// unreadable one is told by its name instead of as a refused connection.
func (s *settings) natsOptions() ([]nats.Option, error) {
	n := s.NATS
	anything := func([]byte) error { return nil } // is checked below
	for _, f := range []struct {
		what, path string
		check      func([]byte) error
	}{
		{"nats.creds", n.Creds, checkCreds}, {"nats.nkey", n.NKey, anything},
		{"nats.tls_cert", n.TLSCert, anything}, {"nats.tls_key", n.TLSKey, anything}, {"nats.tls_ca", n.TLSCA, checkCAs},
	} {
		if f.path == "" || s.unused[f.what] != "" {
			continue
		}
		text, err := os.ReadFile(f.path)
		if err == nil {
			err = f.check(text)
		}
		if err != nil {
			return nil, withHint(&usageError{fmt.Errorf("reading %s: %w", f.what, err)}, "%s was given by %s", f.what, s.origin[f.what])
		}
	}
	if n.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(n.TLSCert, n.TLSKey); err != nil {
			return nil, usagef("reading nats.tls_cert and nats.tls_key: %w", err)
		}
	}

	opts := []nats.Option{nats.Timeout(n.Timeout)}
	// With a context, the configured URL counts only if somebody configured it.
	if n.Context != "" && s.origin["nats.url"] != "default" {
		opts = append(opts, func(o *nats.Options) error {
			o.Url, o.Servers = "", s.servers()
			return nil
		})
	}
	own, err := s.whoWeAre()
	if err != nil {
		return nil, err
	}
	opts = append(opts, own...)
	if n.TLSCert != "" {
		opts = append(opts, nats.ClientCert(n.TLSCert, n.TLSKey))
	}
	if n.TLSCA != "" {
		opts = append(opts, nats.RootCAs(n.TLSCA))
	}
	if n.TLSFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	if n.SOCKSProxy != "" {
		via, err := url.Parse(n.SOCKSProxy)
		if err != nil {
			return nil, usagef("nats.socks_proxy must be a URL such as socks5://proxy:1080")
		}
		dialer, err := proxy.FromURL(via, &net.Dialer{Timeout: n.Timeout})
		if err != nil {
			return nil, usagef("nats.socks_proxy: %w", err)
		}
		opts = append(opts, nats.SetCustomDialer(dialer))
	}
	if n.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(n.InboxPrefix))
	}
	return opts, nil
}

// checkCreds refuses what holds no user's credentials. It quotes nothing of it.
func checkCreds(text []byte) error {
	if _, err := nkeys.ParseDecoratedJWT(text); err != nil {
		return errors.New("it holds no user JWT")
	}
	if _, err := nkeys.ParseDecoratedUserNKey(text); err != nil {
		return errors.New("it holds no user seed")
	}
	return nil
}

func checkCAs(text []byte) error {
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return errors.New("it holds no certificate in PEM")
	}
	return nil
}

// whoWeAre are the options for the credentials that count. They replace a context's, of
// whatever kind those are.
func (s *settings) whoWeAre() ([]nats.Option, error) {
	n := s.NATS
	var own nats.Option
	switch s.credentials {
	case "":
		return nil, nil
	case "nats.creds":
		own = nats.UserCredentials(n.Creds)
	case "nats.nkey":
		var err error
		if own, err = nats.NkeyOptionFromSeed(n.NKey); err != nil {
			return nil, usagef("reading nats.nkey %q: %w", n.NKey, err)
		}
	case "nats.jwt":
		if own = nats.UserJWTAndSeed(n.JWT, n.Seed); n.Seed == "" { // a bearer's signs nothing
			own = nats.UserJWT(func() (string, error) { return n.JWT, nil }, func([]byte) ([]byte, error) { return nil, nil })
		}
	case "nats.token":
		own = nats.Token(n.Token)
	case "nats.user":
		if own = nats.UserInfo(n.User, n.Password); n.Password == "" {
			own = nats.Token(n.User) // as the nats command has it
		}
	case "nats.url":
		own = func(*nats.Options) error { return nil } // by the URL itself
	}
	forget := func(o *nats.Options) error {
		o.User, o.Password, o.Token, o.TokenHandler = "", "", "", nil
		o.Nkey, o.UserJWT, o.SignatureCB = "", nil, nil
		if s.credentials != "nats.url" { // a user in a URL would count more
			for i, u := range o.Servers {
				o.Servers[i] = withoutUser(u)
			}
		}
		return nil
	}
	return []nats.Option{forget, own}, nil
}

// explain says what a failed connection means for who configured it.
func (s *settings) explain(err error) error {
	where := redactedURLs(s.NATS.URL)
	if s.NATS.Context != "" {
		where = fmt.Sprintf("context %q", s.NATS.Context)
	}
	wrapped := fmt.Errorf("connecting to NATS at %s: %w", where, err)
	file, missing := errors.AsType[*fs.PathError](err)
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return withHint(wrapped, "check --creds, --nkey, --jwt, --user or --context: the server refused them")
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return withHint(wrapped, "is nats-server running there? --server or NATS_URL says where")
	case s.NATS.Context != "" && (strings.Contains(err.Error(), "unknown context") || strings.Contains(err.Error(), "invalid context") || missing && file.Path == s.NATS.Context):
		return withHint(&usageError{wrapped}, "nats context ls shows the contexts there are")
	case s.NATS.Context != "" && missing:
		return withHint(&usageError{wrapped}, "the context names that file; nats context edit mends it")
	}
	return withHint(wrapped, "entrust-worker config shows the connection's settings and where each came from")
}
