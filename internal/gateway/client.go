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
	// chainTexts are those of the answers.
	chainTexts chainTexts
	links      links
	lives      profileLives
	// idleLimit is the last limit that a Keep-Alive header named; 0: none did.
	idleLimit atomic.Int64
	// http1 says that the transport was told to speak HTTP/1.1 alone.
	http1 atomic.Bool
	// statusless says that the gateway has no status of a CA.
	statusless atomic.Bool
	poll       pollPath

	speaks   atomic.Pointer[dialect] // nil until the dialect is known
	settling singleflight.Group
}

// New returns a client that sends through hc, of which it takes a copy: redirects
// are refused and hc's own timeout is replaced by those of the configuration. hc's
// transport must be net/http's or wrap it, and pass the request's context on: what
// it tells net/http/httptrace decides whether a request was written. It should dial
// with HearAlerts, and have the methods UseHTTP1(), for a gateway that requires HTTP/1.1,
// and LimitIdle(time.Duration), for one that says when it closes idle connections. A nil
// log discards. New sends nothing.
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
	// A followed redirect would send the CSR, and show the client certificate, to
	// whatever the answer names.
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
	// UnknownWords counts the status words that are in no list, by word.
	UnknownWords map[string]uint64
	// ChainFailures counts the certificates handed out without their chain because
	// it could not be fetched.
	ChainFailures uint64
}

// Stats returns the counts of now.
func (c *Client) Stats() Stats {
	return Stats{UnknownWords: c.words.snapshot(), ChainFailures: c.chains.failures.Load()}
}

// Dialect returns how the gateway speaks: DialectAuto until it is known.
func (c *Client) Dialect() Dialect {
	if d := c.speaks.Load(); d != nil {
		return (*d).name()
	}
	return DialectAuto
}

func (c *Client) speak(d dialect) { c.speaks.Store(&d) }

// settled takes in what a probe saw. A dialect that is configured, or chosen before,
// stays: answers in two dialects come from a proxy in front of two gateways.
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

// readDialect tells the dialects apart by the answer to GET …/{caId}: nested under
// "ca", or flat with "caId".
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

// dialect returns the dialect, after asking the gateway if it must. All callers that
// wait share one probe, and none of them can end it for the others. What keeps the
// probe from an answer keeps op from being sent: the error is never Refused, and
// NotAccepted unless the gateway throttles or does not know the client.
func (c *Client) dialect(ctx context.Context, op Op) (dialect, error) {
	if d := c.speaks.Load(); d != nil {
		return *d, nil
	}
	probed := c.settling.DoChan("", func() (any, error) {
		if c.speaks.Load() != nil {
			return nil, nil // the probe before this one ended just now
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
