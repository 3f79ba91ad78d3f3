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

// maxBackdating is how far the notBefore of a certificate may lie before its issuance: far
// more than CAs backdate. A certificate with an older notBefore existed before.
const maxBackdating = 48 * time.Hour

// eventsPage holds the events of a page that concern one key.
type eventsPage struct {
	events  []event
	problem string // of an event that may concern the key and cannot be read
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
	// laterAction matches the actions of a certificate's later life. Their date does not show
	// when it was issued.
	laterAction = regexp.MustCompile(`(?i)revok|hold|held|suspend|activat|expir|remov|delet|publish`)
	// issueAction matches the actions that mean issued.
	issueAction = regexp.MustCompile(`(?i)issu|creat|enrol|generat|renew`)
)

// judge reports whether the event shows a certificate that was issued for the search. A
// problem means that it may show one, but cannot be decided. The caller has subtracted the
// skew from s.Since, and has checked that the certificate has the key.
func (e event) judge(s Search) (found bool, problem string) {
	issued := issueAction.MatchString(e.action)
	switch since := s.Since; {
	case !e.cert.NotBefore.Before(since):
	case laterAction.MatchString(e.action), !e.date.IsZero() && e.date.Before(since):
		return false, "" // it existed before, or another event shows its issuance
	case e.cert.NotBefore.Before(since.Add(-maxBackdating)):
		// An event of this issuance must not be skipped, whatever the certificate's notBefore.
		if issued {
			return false, "a certificate of this key is ambiguous: its notBefore is too old for its event"
		}
		return false, ""
	case e.date.IsZero():
		return false, "a certificate of this key is ambiguous: its event's date cannot be read"
	case !issued:
		return false, "a certificate of this key is ambiguous: its event's action is unknown"
	}
	have, err := san.Read(e.cert.Extensions)
	if err == nil {
		if _, missing := san.Uncovered(s.SANs, have); !missing {
			return true, ""
		}
	}
	return false, "a certificate of this key is ambiguous: it has other names"
}

// eventDates are the layouts of a date with a zone.
var eventDates = []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700", time.RFC1123Z}

// eventDate reads a date, or the seconds or milliseconds since 1970. It returns the zero time
// if it cannot read s.
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
	case n < 1e11: // as milliseconds it would be before March 1973
		return time.Unix(n, 0)
	}
	return time.UnixMilli(n)
}

// wireEvents is a page of certificate events as the gateway writes it.
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
	// The flag for further pages has two names: clients read morePages, the documentation
	// says hasMore.
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

// readEvents reads a page of certificate events and keeps those whose certificate has the
// key with these bits.
func readEvents(body, key []byte) (eventsPage, error) {
	wire, err := parseEvents(body)
	if err != nil {
		return eventsPage{}, err
	}
	page := eventsPage{more: wire.MorePages || wire.HasMore, next: pageIndex(wire.Next)}
	for _, ev := range wire.Events {
		if strings.TrimSpace(ev.Certificate) == "" {
			// It may be the wanted one, unless it is of a certificate's later life or names no
			// certificate at all.
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

// certificateOf returns the event's certificate if it has the key, else nil. It does not parse
// certificates without the key's bits: that saves time, and ignores unreadable ones.
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

// keyBits returns the key of a SubjectPublicKeyInfo without its algorithm, which has two
// encodings: with and without null parameters.
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

// pageIndex returns the index to echo: a JSON string or number.
func pageIndex(raw json.RawMessage) string {
	if s, ok := plainText(raw); ok {
		return s
	}
	if s := string(raw); s != "null" {
		return s
	}
	return ""
}
