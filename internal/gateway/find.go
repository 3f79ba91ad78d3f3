package gateway

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// pageSize is the most events that the hosted gateway puts on a page.
const pageSize = "50"

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
}

// CanFind reports whether the gateway is known to have a look-up.
func (c *Client) CanFind() bool { return c.Dialect() == DialectCAGW }

// Find looks through the CA's certificate events for what an enrollment issued. It
// returns the first match as an Issued answer, still to be checked with CheckIssued,
// or false when every event was read and none matches. Events tell of certificates
// only: false proves nothing about an enrollment that may wait for approval.
//
// Find returns ErrNoLookup in the certctl dialect, else an *Error. An event that may
// hold the match and cannot be read is an error, and so is a page limit reached.
func (c *Client) Find(ctx context.Context, s Search) (Answer, bool, error) {
	if s.CAID == "" {
		s.CAID = c.cfg.CAID
	}
	if s.CSR == nil {
		return Answer{}, false, invalid(OpFind, "csr", "is missing")
	}
	if s.SANs == nil {
		var err error
		if s.SANs, err = names(s.CSR.Extensions); err != nil {
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
	var next string
	for range c.cfg.FindMaxPages {
		page, status, err := c.events(ctx, s, next)
		if err != nil {
			return Answer{}, false, err
		}
		for _, ev := range page.events {
			if !ev.matches(s) {
				continue
			}
			a := Answer{State: Issued, HTTPStatus: status, Status: bound(ev.action, maxCode)}
			c.complete(ctx, d, &a, order{certs: []*x509.Certificate{ev.cert}, serial: ev.serial}, Poll{CAID: s.CAID})
			return a, true, nil
		}
		if !page.more {
			return Answer{}, false, nil
		}
		// Days without events make empty pages, so progress shows in the index alone.
		if page.next == "" || page.next == next {
			return Answer{}, false, &Error{Op: OpFind, Fate: Unreadable, Class: classOther, HTTPStatus: status,
				Message: "the gateway promises more events and names no further page"}
		}
		next = page.next
	}
	return Answer{}, false, &Error{Op: OpFind, Fate: Unknown, Class: classOther,
		Message: fmt.Sprintf("more events than the limit of %d pages", c.cfg.FindMaxPages)}
}

// events fetches one page of certificate events.
func (c *Client) events(ctx context.Context, s Search, next string) (eventsPage, int, error) {
	query := url.Values{
		"startDate":         {s.Since.UTC().Format(time.RFC3339)},
		"preferredPageSize": {pageSize},
	}
	if next != "" {
		query.Set("nextPageIndex", next)
	}
	r, err := c.send(ctx, call{
		op: OpFind, method: http.MethodGet, query: query,
		path: segments("certificate-authorities", s.CAID, "certificate-events"),
	})
	if err != nil {
		return eventsPage{}, 0, invalid(OpFind, "ca_id", "makes no valid URL")
	}
	var page eventsPage
	m, problem := meansNothing, ""
	if r.success() && r.phase == phaseAnswered && !readRefusal(r.body).given {
		if page, err = readEvents(r.body, s.CSR.RawSubjectPublicKeyInfo); err == nil {
			m = meansDone
		} else {
			problem = err.Error()
		}
	}
	_, err = c.verdict(OpFind, r, m, problem)
	return page, r.status, err
}

// eventsPage is a page of the events that concern one key.
type eventsPage struct {
	events []event
	more   bool
	next   string
}

type event struct {
	action string
	date   time.Time // zero if it cannot be read
	serial string
	cert   *x509.Certificate
}

// laterAction are the actions of a certificate's later life. Their date says nothing
// about when it was issued.
var laterAction = regexp.MustCompile(`(?i)revok|hold|suspend|activat|expir|remov|delet|publish`)

// matches reports whether the event tells of a certificate issued for the search.
// Since has the skew taken off.
func (e event) matches(s Search) bool {
	have, err := names(e.cert.Extensions)
	if err != nil {
		return false
	}
	if _, missing := uncovered(s.SANs, have); missing {
		return false
	}
	return !e.cert.NotBefore.Before(s.Since) || !laterAction.MatchString(e.action) && !e.date.Before(s.Since)
}

// readEvents reads a page of certificate events and keeps those whose certificate
// holds the key. The flag for further pages goes by two names: the documentation's
// hasMore, and morePages, which the clients read.
func readEvents(body, spki []byte) (eventsPage, error) {
	var wire struct {
		Type   string `json:"type"`
		Events []struct {
			Action      text   `json:"action"`
			Date        text   `json:"eventDate"`
			Serial      text   `json:"serialNumber"`
			Certificate string `json:"certificate"`
		} `json:"events"`
		Next      json.RawMessage `json:"nextPageIndex"`
		MorePages bool            `json:"morePages"`
		HasMore   bool            `json:"hasMore"`
	}
	if err := parseObject(body, &wire); err != nil {
		return eventsPage{}, err
	}
	if wire.Events == nil && wire.Type != "CertificateEventsResponse" {
		return eventsPage{}, errors.New("the answer holds no events")
	}
	page := eventsPage{more: wire.MorePages || wire.HasMore, next: pageIndex(wire.Next)}
	for _, ev := range wire.Events {
		if strings.TrimSpace(ev.Certificate) == "" {
			// It may be the one that is looked for, unless it tells of an older one or of
			// no certificate at all.
			if ev.Serial != "" && !laterAction.MatchString(string(ev.Action)) {
				return eventsPage{}, errors.New("an event lacks its certificate")
			}
			continue
		}
		cert, err := certificateOf(ev.Certificate, spki)
		if err != nil {
			return eventsPage{}, err
		}
		if cert == nil {
			continue
		}
		found := event{action: string(ev.Action), serial: string(ev.Serial), cert: cert}
		if date, err := time.Parse(time.RFC3339, string(ev.Date)); err == nil {
			found.date = date
		}
		page.events = append(page.events, found)
	}
	return page, nil
}

// certificateOf parses the event's certificate if it holds the key, else it is nil.
// Others are not parsed: it costs time, and one that Go refuses is none of ours.
func certificateOf(s string, spki []byte) (*x509.Certificate, error) {
	if strings.Contains(s, "-----BEGIN") {
		certs, err := parseCertificates(s)
		if err != nil || !bytes.Equal(certs[0].RawSubjectPublicKeyInfo, spki) {
			return nil, err
		}
		return certs[0], nil
	}
	der, err := parseBase64(s)
	if err != nil {
		return nil, errors.New("an event's certificate is not base64")
	}
	if !bytes.Contains(der, spki) {
		return nil, nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("an event's certificate cannot be parsed")
	}
	if !bytes.Equal(cert.RawSubjectPublicKeyInfo, spki) {
		return nil, nil
	}
	return cert, nil
}

// pageIndex returns the index to echo, a string or a number on the wire.
func pageIndex(raw json.RawMessage) string {
	if s, ok := plainText(raw); ok {
		return s
	}
	if s := string(raw); s != "null" {
		return s
	}
	return ""
}
