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

// pageSize is the most events that the hosted gateway puts on a page.
const pageSize = "50"

// maxThrottled is how often in a row one page is asked for again after a 429.
const maxThrottled = 3

// Search looks for a certificate that an enrollment of unknown fate may have made.
type Search struct {
	// CAID names the CA; empty: the configured one.
	CAID string
	// CSR is that of the enrollment; its public key is what is looked for.
	CSR *x509.CertificateRequest
	// SANs are the names that the certificate must cover; nil: those of the CSR.
	SANs []SAN
	// Since is when the enrollment was sent. Keys live longer than certificates, so
	// an older certificate of the same key is no match; Config.FindSkew is allowed.
	Since time.Time
	// Wait, if set, is called before every page but the first, for each is a call that
	// costs quota, with nil, or with the error of a page that was throttled and is to be
	// asked for again. Its error ends the look-up and is returned as it is. Without it
	// a throttled page is Find's error.
	Wait func(ctx context.Context, throttled error) error
}

// CanFind reports whether the gateway is known to have a look-up.
func (c *Client) CanFind() bool { return c.Dialect() == DialectCAGW }

// Find looks through the CA's certificate events for what an enrollment issued. It
// returns the first match as an Issued answer, still to be checked with CheckIssued,
// or false when every event was read and none matches. Events tell of certificates
// only: false proves nothing about an enrollment that may wait for approval.
//
// Find returns ErrNoLookup in the certctl dialect, else an *Error. It is Unreadable
// where asking again gets the same answer: without a match, an event that may tell of
// one and cannot be judged, or more pages than the limit.
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
		// Days without events make empty pages, so progress shows in the index alone.
		if page.more && (page.next == "" || page.next == next) {
			doubt, page.more = cmp.Or(doubt, "the gateway promises more events and names no further page"), false
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

// nextEvents fetches page number n, which has the given index, when it may.
func (c *Client) nextEvents(ctx context.Context, s Search, n int, index string) (eventsPage, int, error) {
	if n > 0 && s.Wait != nil {
		if err := s.Wait(ctx, nil); err != nil {
			return eventsPage{}, 0, err
		}
	}
	for tries := 1; ; tries++ {
		page, status, err := c.events(ctx, s, index)
		// The first page has nothing behind it that would be lost.
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

// listEvents fetches one page of the events of a CA since an instant, and has it read. The
// index is the one that the page before named.
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
