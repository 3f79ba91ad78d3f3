package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// PollMode says how Poll finds the state of a pending enrollment in the cagw dialect. The
// certctl dialect has a poll path and no events, so the mode does not matter there.
type PollMode string

const (
	// PollAuto polls Config.PollPath. It reads the certificate events if the gateway has no
	// such path: the path answers 405 or 501, or 404 without the gateway's own error body, and
	// never answered with a 2xx before.
	PollAuto PollMode = "auto"
	// PollEnrollment polls Config.PollPath only.
	PollEnrollment PollMode = "enrollment"
	// PollEvents reads the certificate events only. They show issued certificates: an order
	// that an approver rejects stays pending until its deadline.
	PollEvents PollMode = "events"
)

// pathRetry is how long PollAuto skips a missing poll path.
const pathRetry = 10 * time.Minute

// errInconclusive is the cause of a look-up's error if the gateway answered correctly, but its
// events do not decide about this enrollment.
var errInconclusive = errors.New("the events decide nothing")

// pollPath records whether the gateway has the poll path. Safe for concurrent use.
type pollPath struct {
	seen    atomic.Bool  // the path answered with a 2xx
	missing atomic.Int64 // the path counts as missing until then, in ns since 1970
}

func (p *pollPath) isMissing() bool {
	return !p.seen.Load() && time.Now().UnixNano() < p.missing.Load()
}

// pollAuto polls the path, and reads the events if the gateway has no such path. If the order
// cannot be searched for in the events, it returns the answer of the path.
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
		// A proxy that answers 404 for everything answers so for the events too, so a successful
		// look-up shows that only the path is missing.
		c.log.WarnContext(ctx, "the gateway has no poll path; the worker looks pending enrollments up in its certificate events; set gateway.poll: events to skip the poll path")
	}
	return a, err
}

// lacksPath reports whether the answer to a poll means that the gateway has no poll path. A
// 404 with the gateway's own error body is about the order.
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

// pollEvents searches the events for the certificate of a pending enrollment. Without a match
// the order is pending: events show neither a waiting nor a rejected order.
func (c *Client) pollEvents(ctx context.Context, p Poll, s Search) (Answer, error) {
	s.CAID = p.CAID
	a, found, err := c.Find(ctx, s)
	if errors.Is(err, errInconclusive) {
		c.log.WarnContext(ctx, "the certificate events do not decide about a pending enrollment; it stays pending", "tracking_id", bound(p.TrackingID, maxCode), "err", err)
		err = nil
	}
	if e, ok := errors.AsType[*Error](err); ok && (e.Fate == Refused || e.Fate == NotFound) {
		// A refused look-up does not mean that the order is refused.
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
