package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// PollMode says how the state of a pending enrollment is found out in the cagw dialect.
// The certctl dialect has its poll path and no events.
type PollMode string

const (
	// PollAuto polls Config.PollPath, and looks into the certificate events where the
	// gateway shows that it has no such path: 405 or 501, or a 404 that is not in its own
	// words, before the path ever answered with a 2xx.
	PollAuto PollMode = "auto"
	// PollEnrollment polls Config.PollPath alone.
	PollEnrollment PollMode = "enrollment"
	// PollEvents looks into the certificate events alone. They show issued certificates
	// only: an order that an approver rejects stays pending until its deadline.
	PollEvents PollMode = "events"
)

// pathRetry is how long PollAuto passes over a poll path that was missing.
const pathRetry = 10 * time.Minute

// errInconclusive is the cause of a look-up's error where the gateway answered well and
// its events do not decide about this one enrollment.
var errInconclusive = errors.New("the events decide nothing")

// pollPath is what PollAuto knows of the gateway's poll path. Safe for concurrent use.
type pollPath struct {
	seen    atomic.Bool  // it answered with a 2xx
	missing atomic.Int64 // until when it counts as missing, in ns since 1970
}

func (p *pollPath) isMissing() bool {
	return !p.seen.Load() && time.Now().UnixNano() < p.missing.Load()
}

// pollAuto polls the path, and the events where the gateway has no such path. What the
// path answered stands where the events cannot be asked.
func (c *Client) pollAuto(ctx context.Context, d dialect, q call, p Poll) (Answer, error) {
	if c.poll.isMissing() && p.Search != nil {
		if s, ok := p.Search(); ok {
			return c.pollEvents(ctx, p, s)
		}
	}
	a, err := c.order(ctx, d, q, p)
	if err == nil && a.HTTPStatus/100 == 2 {
		c.poll.seen.Store(true)
	}
	if c.poll.seen.Load() || p.Search == nil || !lacksPath(a, err) {
		return a, err
	}
	s, ok := p.Search()
	if !ok {
		return a, err
	}
	a, err = c.pollEvents(ctx, p, s)
	if err == nil && c.poll.missing.Swap(time.Now().Add(pathRetry).UnixNano()) == 0 {
		// A front that answers 404 for everything answers so to the events too.
		c.log.WarnContext(ctx, "the gateway has no poll path: looking pending enrollments up in its certificate events; gateway.poll: events saves the question")
	}
	return a, err
}

// lacksPath reports whether a poll was answered as by a gateway without the path. The
// gateway's own 404 is about the order.
func lacksPath(a Answer, err error) bool {
	if err == nil {
		return a.foreign && a.HTTPStatus == http.StatusNotFound
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.HTTPStatus {
	case http.StatusNotFound:
		return !e.Own
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// pollEvents looks for the certificate of a pending enrollment. Without a match the order
// is pending: the events do not show one that waits, or was rejected.
func (c *Client) pollEvents(ctx context.Context, p Poll, s Search) (Answer, error) {
	s.CAID = p.CAID
	a, found, err := c.Find(ctx, s)
	if errors.Is(err, errInconclusive) {
		c.log.WarnContext(ctx, "the certificate events do not decide about a pending enrollment", "tracking_id", bound(p.TrackingID, maxCode), "err", err)
		err = nil
	}
	if e, ok := errors.AsType[*Error](err); ok && (e.Fate == Refused || e.Fate == NotFound) {
		// A no to the look-up is not a no to the order.
		again := *e
		again.Fate = Unreadable
		err = &again
	}
	switch {
	case err != nil:
		return Answer{}, err
	case !found:
		a = Answer{State: Pending, HTTPStatus: http.StatusOK, Status: "no event yet"}
	}
	a.TrackingID = p.TrackingID
	return a, nil
}
