package gateway

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// maxBackdating is how much older than its issuance a certificate may claim to be: far
// more than CAs backdate. What is older was there before.
const maxBackdating = 48 * time.Hour

// eventsPage is a page of the events that concern one key.
type eventsPage struct {
	events  []event
	problem string // with an event that may concern the key, and cannot be read
	more    bool
	next    string
}

type event struct {
	action string
	date   time.Time // zero if it cannot be read
	serial string
	cert   *x509.Certificate
}

var (
	// laterAction are the actions of a certificate's later life. Their date says nothing
	// about when it was issued.
	laterAction = regexp.MustCompile(`(?i)revok|hold|held|suspend|activat|expir|remov|delet|publish`)
	issueAction = regexp.MustCompile(`(?i)issu|creat|enrol|generat|renew`)
)

// judge reports whether the event tells of a certificate issued for the search; with a
// problem, that it may. Since has the skew taken off. The certificate has the key.
func (e event) judge(s Search) (found bool, problem string) {
	issued := issueAction.MatchString(e.action)
	switch since := s.Since; {
	case !e.cert.NotBefore.Before(since):
	case laterAction.MatchString(e.action), !e.date.IsZero() && e.date.Before(since):
		return false, "" // it was there before, or an event of its own tells of its beginning
	case e.cert.NotBefore.Before(since.Add(-maxBackdating)):
		// Even so, "issued" is not to be passed over if it may be meant for now.
		if issued {
			return false, "a certificate of this key cannot be judged: it claims to be too old for its event"
		}
		return false, ""
	case e.date.IsZero():
		return false, "a certificate of this key cannot be judged: its event's date cannot be read"
	case !issued:
		return false, "a certificate of this key cannot be judged: its event's action is unknown"
	}
	have, err := san.Read(e.cert.Extensions)
	if err == nil {
		if _, missing := san.Uncovered(s.SANs, have); !missing {
			return true, ""
		}
	}
	return false, "a certificate of this key cannot be judged: it has other names"
}

// eventDates are the forms of a date with its zone in it.
var eventDates = []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700", time.RFC1123Z}

// eventDate reads a date, or the seconds or milliseconds since 1970. It is zero where
// the date cannot be read.
func eventDate(s string) time.Time {
	s = strings.TrimSpace(s)
	for _, form := range eventDates {
		if date, err := time.Parse(form, s); err == nil {
			return date
		}
	}
	if date, err := http.ParseTime(s); err == nil {
		return date
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil || n <= 0:
		return time.Time{}
	case n < 1e11: // as milliseconds, before March 1973
		return time.Unix(n, 0)
	}
	return time.UnixMilli(n)
}

// wireEvents is a page of certificate events as it is read.
type wireEvents struct {
	Type   string `json:"type"`
	Events []struct {
		Action      text            `json:"action"`
		Kind        text            `json:"event"`
		Date        text            `json:"eventDate"`
		Serial      text            `json:"serialNumber"`
		Certificate string          `json:"certificate"`
		Detail      json.RawMessage `json:"detail"`
		Reason      json.RawMessage `json:"reason"`
	} `json:"events"`
	Next json.RawMessage `json:"nextPageIndex"`
	// The flag for further pages goes by two names: morePages, which the clients read, and
	// the documentation's hasMore.
	MorePages bool `json:"morePages"`
	HasMore   bool `json:"hasMore"`
}

func parseEvents(body []byte) (wireEvents, error) {
	var wire wireEvents
	if err := parseObject(body, &wire); err != nil {
		return wire, err
	}
	if wire.Events == nil && wire.Type != "CertificateEventsResponse" {
		return wire, errors.New("the answer holds no events")
	}
	return wire, nil
}

// readEvents reads a page of certificate events and keeps those whose certificate
// holds the key with these bits.
func readEvents(body, key []byte) (eventsPage, error) {
	wire, err := parseEvents(body)
	if err != nil {
		return eventsPage{}, err
	}
	page := eventsPage{more: wire.MorePages || wire.HasMore, next: pageIndex(wire.Next)}
	for _, ev := range wire.Events {
		if strings.TrimSpace(ev.Certificate) == "" {
			// It may be the one that is looked for, unless it tells of an older one or of
			// no certificate at all.
			if ev.Serial != "" && !laterAction.MatchString(string(ev.Action)) {
				page.problem = "an event lacks its certificate"
			}
			continue
		}
		cert, err := certificateOf(ev.Certificate, key)
		switch {
		case err != nil:
			page.problem = err.Error()
		case cert != nil:
			page.events = append(page.events, event{string(ev.Action), eventDate(string(ev.Date)), string(ev.Serial), cert})
		}
	}
	return page, nil
}

// certificateOf returns the event's certificate if it holds the key, else nil. Others are
// not parsed: it costs time, and one that cannot be read is none of ours.
func certificateOf(s string, key []byte) (*x509.Certificate, error) {
	if !strings.Contains(s, pemBegin) {
		if der, err := parseBase64(s); err == nil && !bytes.Contains(der, key) && !bytes.Contains(der, []byte(pemBegin)) {
			return nil, nil
		}
	}
	b := readCertificates(s)
	for _, cert := range b.certs {
		if bytes.Equal(keyBits(cert.RawSubjectPublicKeyInfo), key) {
			return cert, nil
		}
	}
	if b.unread > 0 {
		return nil, errors.New("an event's certificate cannot be read")
	}
	return nil, nil
}

// keyBits returns the key itself out of a SubjectPublicKeyInfo. What surrounds it, the
// algorithm, may be encoded in two ways: with and without null parameters.
func keyBits(spki []byte) []byte {
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil || len(info.Key.Bytes) == 0 {
		return spki
	}
	return info.Key.Bytes
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
