package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"

	"golang.org/x/sync/singleflight"
)

// Client talks to one gateway. Make it with New; it is safe for concurrent use.
type Client struct {
	cfg  Config // defaults filled in
	base string // ends in /v1
	http *http.Client
	log  *slog.Logger

	words    wordCount
	paddings paddings
	chains   chainCache
	// chainTexts remembers the chains in answers.
	chainTexts chainTexts
	links      links
	lives      profileLives
	// idleLimit is the last limit that a Keep-Alive header named, in nanoseconds; 0: none did.
	idleLimit atomic.Int64
	// http1: the transport was told to use HTTP/1.1 only.
	http1 atomic.Bool
	// statusless: the gateway has no status endpoint for a CA.
	statusless atomic.Bool
	poll       pollPath

	speaks   atomic.Pointer[dialect] // nil until the dialect is known
	settling singleflight.Group
}

// New returns a client that sends through a copy of hc. The copy refuses redirects, and has
// the timeouts of the configuration in place of hc's own.
//
// hc's transport must be net/http's or wrap it, and must pass the request's context on:
// net/http/httptrace decides whether a request was written. The transport should dial with
// HearAlerts. It should have the method UseHTTP1(), for a gateway that requires HTTP/1.1,
// and LimitIdle(time.Duration), for a gateway that says when it closes idle connections.
//
// A nil log discards. New sends nothing. The error lists every mistake in cfg, or says that
// hc is nil.
func New(cfg Config, hc *http.Client, log *slog.Logger) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	base, err := parseBase(cfg.URL)
	if err != nil {
		return nil, err
	}
	if hc == nil {
		return nil, errors.New("gateway: no HTTP client, and the default one has no client certificate")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	own := *hc
	own.Timeout = 0
	// A followed redirect would send the CSR, and show the client certificate, to any server
	// that the answer names.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c := &Client{cfg: cfg, base: base, http: &own, log: log, lives: profileLives{configured: cfg.ProfileValidity}}
	switch cfg.Dialect {
	case DialectCertctl:
		c.speak(certctl{&c.chainTexts})
	case DialectCAGW:
		c.speak(cagw{&c.chainTexts})
	}
	return c, nil
}

// Stats are counts since New.
type Stats struct {
	// UnknownWords counts the status words that are in no list of Config.Words, by word.
	UnknownWords map[string]uint64
	// ChainFailures counts the issued certificates for which the client got no chain.
	ChainFailures uint64
}

// Stats returns the current counts.
func (c *Client) Stats() Stats {
	return Stats{UnknownWords: c.words.snapshot(), ChainFailures: c.chains.failures.Load()}
}

// Dialect returns the gateway's dialect; DialectAuto while it is unknown.
func (c *Client) Dialect() Dialect {
	if d := c.speaks.Load(); d != nil {
		return (*d).name()
	}
	return DialectAuto
}

func (c *Client) speak(d dialect) { c.speaks.Store(&d) }

// settled records the dialect that a probe saw. A dialect that is configured, or was chosen
// before, stays: answers in two dialects come from a proxy in front of two gateways.
func (c *Client) settled(speaks Dialect) {
	var d dialect = cagw{&c.chainTexts}
	if speaks == DialectCertctl {
		d = certctl{&c.chainTexts}
	}
	if c.speaks.CompareAndSwap(nil, &d) {
		c.log.Info("gateway dialect chosen by its answer", "dialect", string(speaks))
	}
}

var errNoDialect = errors.New("the answer is of neither dialect")

// readDialect recognises the dialect by the answer to GET …/{caId}: nested under "ca", or
// flat with "caId".
func readDialect(body []byte) (Dialect, error) {
	var wire struct {
		CA *struct {
			ID text `json:"id"`
		} `json:"ca"`
		CAID *text `json:"caId"`
	}
	if err := parseObject(body, &wire); err != nil {
		return "", err
	}
	switch {
	case wire.CA != nil:
		return DialectCAGW, nil
	case wire.CAID != nil:
		return DialectCertctl, nil
	}
	return "", errNoDialect
}

// dialect returns the dialect, and probes the gateway if it is unknown. All waiting callers
// share one probe, and none of them can end it for the others. If the probe fails, op is
// not sent: the error is Throttled or Unauthorized if the gateway said so, else NotAccepted.
func (c *Client) dialect(ctx context.Context, op Op) (dialect, error) {
	if d := c.speaks.Load(); d != nil {
		return *d, nil
	}
	probed := c.settling.DoChan("", func() (any, error) {
		if c.speaks.Load() != nil {
			return nil, nil // another probe has just ended
		}
		return nil, c.Probe(context.WithoutCancel(ctx))
	})
	var err error
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case result := <-probed:
		err = result.Err
	}
	if d := c.speaks.Load(); d != nil {
		return *d, nil
	}
	e := &Error{Op: op, Fate: NotAccepted, Class: classNetwork, Message: "the gateway's dialect is not known yet: " + lost(err), cause: err}
	if probe, ok := errors.AsType[*Error](err); ok {
		e.Class, e.Code, e.HTTPStatus, e.RetryAfter = probe.Class, probe.Code, probe.HTTPStatus, probe.RetryAfter
		e.Message = clean("the gateway's dialect is not known yet: " + probe.Message)
		if probe.Fate == Throttled || probe.Fate == Unauthorized {
			e.Fate = probe.Fate
		}
	} else if timedOut(err) {
		e.Class = classTimeout
	}
	return nil, e
}
