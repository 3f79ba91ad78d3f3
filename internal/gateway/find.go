package gateway

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// pageSize is the largest page of events that the hosted gateway returns.
const pageSize = "50"

// maxThrottled is how often in a row Find asks for a page again after a 429.
const maxThrottled = 3

// Search describes the certificate that an indeterminate enrollment may have created.
type Search struct {
	// CAID names the CA; empty: the configured one.
	CAID string
	// CSR is the certificate request of the enrollment. A match has its public key.
	CSR *x509.CertificateRequest
	// SANs are the names that the certificate must cover; nil: those of the CSR.
	SANs []SAN
	// Since is when the enrollment was sent. An older certificate of the same key is no
	// match, since keys are reused on renewal. Config.FindSkew is the tolerance.
	Since time.Time
	// Wait, if set, runs before every page but the first: each page is a call that costs
	// quota. throttled is nil, or the error of a throttled page that Find asks for again. An
	// error of Wait ends the look-up, and Find returns it unchanged. Without Wait, a throttled
	// page ends the look-up.
	Wait func(ctx context.Context, throttled error) error
}

// CanFind reports whether the gateway is known to have a look-up. It is false while the
// dialect is unknown.
func (c *Client) CanFind() bool { return c.Dialect() == DialectCAGW }

// Find searches the CA's certificate events for the certificate of an enrollment. It returns
// the first match as an Issued answer, which the caller checks with CheckIssued. It returns
// false if it read every event and none matches. Events show certificates only: false
// proves nothing about an enrollment that may wait for approval.
//
// The error is ErrNoLookup in the certctl dialect, the error of Search.Wait, or an *Error.
// Its fate is Unreadable if the same look-up again brings the same answer: there is no
// match, and an event that may be one cannot be decided, or there are more pages than the
// limit.
func (c *Client) Find(ctx context.Context, s Search) (Answer, bool, error) {
	if s.CAID == "" {
		s.CAID = c.cfg.CAID
	}
	if s.CSR == nil {
		return Answer{}, false, invalid(OpFind, "csr", "is missing")
	}
	if s.SANs == nil {
		var err error
		if s.SANs, err = san.Read(s.CSR.Extensions); err != nil {
			return Answer{}, false, invalid(OpFind, "csr", err.Error())
		}
	}
	d, err := c.dialect(ctx, OpFind)
	if err != nil {
		return Answer{}, false, err
	}
	if d.name() != DialectCAGW {
		return Answer{}, false, ErrNoLookup
	}
	s.Since = s.Since.Add(-c.cfg.FindSkew)
	next, doubt := "", ""
	for n := range c.cfg.FindMaxPages {
		page, status, err := c.nextEvents(ctx, s, n, next)
		if err != nil {
			return Answer{}, false, err
		}
		for _, ev := range page.events {
			found, problem := ev.judge(s)
			if found {
				a := Answer{State: Issued, HTTPStatus: status, Status: bound(ev.action, maxCode)}
				c.complete(ctx, d, &a, order{serial: ev.serial}, ev.cert, s.CAID)
				return a, true, nil
			}
			doubt = cmp.Or(doubt, problem)
		}
		doubt = cmp.Or(doubt, page.problem)
		// Days without events are empty pages, so only the index shows progress.
		if page.more && (page.next == "" || page.next == next) {
			doubt, page.more = cmp.Or(doubt, "the gateway says that there are more events but names no further page"), false
		}
		if !page.more && doubt != "" {
			return Answer{}, false, &Error{Op: OpFind, Fate: Unreadable, Class: classOther, HTTPStatus: status, Message: doubt, cause: errInconclusive}
		}
		if !page.more {
			return Answer{}, false, nil
		}
		next = page.next
	}
	return Answer{}, false, &Error{Op: OpFind, Fate: Unreadable, Class: classOther,
		Message: fmt.Sprintf("more events than a look-up reads: %d pages", c.cfg.FindMaxPages), cause: errInconclusive}
}

// nextEvents waits, then fetches page number n, which has the given index.
func (c *Client) nextEvents(ctx context.Context, s Search, n int, index string) (eventsPage, int, error) {
	if n > 0 && s.Wait != nil {
		if err := s.Wait(ctx, nil); err != nil {
			return eventsPage{}, 0, err
		}
	}
	for tries := 1; ; tries++ {
		page, status, err := c.events(ctx, s, index)
		// A throttled first page ends the look-up: no page read before it is lost.
		if FateOf(err) != Throttled || n == 0 || s.Wait == nil || tries > maxThrottled {
			return page, status, err
		}
		if err := s.Wait(ctx, err); err != nil {
			return eventsPage{}, 0, err
		}
	}
}

// events fetches one page of certificate events.
func (c *Client) events(ctx context.Context, s Search, next string) (page eventsPage, status int, err error) {
	status, err = c.listEvents(ctx, s.CAID, s.Since, next, func(body []byte) (err error) {
		page, err = readEvents(body, keyBits(s.CSR.RawSubjectPublicKeyInfo))
		return err
	})
	return page, status, err
}

// listEvents fetches one page of the events of a CA since an instant, and passes it to read.
// The previous page names index; it is empty for the first page.
func (c *Client) listEvents(ctx context.Context, caID string, since time.Time, index string, read func(body []byte) error) (status int, err error) {
	query := url.Values{
		"startDate":         {since.UTC().Format(time.RFC3339)},
		"preferredPageSize": {pageSize},
	}
	if index != "" {
		query.Set("nextPageIndex", index)
	}
	r, err := c.send(ctx, call{
		op: OpFind, method: http.MethodGet, query: query,
		path: segments("certificate-authorities", caID, "certificate-events"),
	})
	if err != nil {
		return 0, invalid(OpFind, "ca_id", "makes no valid URL")
	}
	m, problem := meansNothing, ""
	if r.success() && r.phase == phaseAnswered && !readRefusal(r.body, DialectCAGW).own {
		if err := read(r.body); err == nil {
			m = meansDone
		} else {
			problem = err.Error()
		}
	}
	_, err = c.verdict(OpFind, r, m, problem)
	return r.status, err
}
