package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Event is an entry of a CA's certificate events.
type Event struct {
	// ID identifies the event within its CA: a hash of serial, action, kind, date and reason.
	ID string
	// Action is the gateway's word, such as issued or revoked, at most 64 characters.
	Action string
	// Date is the gateway's date of the event; zero if it cannot be read.
	Date time.Time
	// Serial is the certificate's serial number in lower-case hexadecimal without padding;
	// empty if it cannot be read.
	Serial string
	// Reason and Detail are the gateway's, bounded and cleaned; empty if it gives none.
	Reason, Detail string
	// Certificate is nil if the event has no readable one.
	Certificate *x509.Certificate
}

// EventPage is a page of certificate events.
type EventPage struct {
	Events []Event
	// More: there are further pages. Next is the index of the next one.
	More bool
	Next string
}

// Events returns one page of the certificate events of a CA since an instant. An empty caID
// names the configured CA. index is Next of the previous page, empty for the first. A page
// without events may have further pages after it. The error is ErrNoLookup in the certctl
// dialect, else an *Error. Its fate is Unreadable if the gateway says that there are more
// pages but does not name the next one.
func (c *Client) Events(ctx context.Context, caID string, since time.Time, index string) (EventPage, error) {
	d, err := c.dialect(ctx, OpFind)
	if err != nil {
		return EventPage{}, err
	}
	if d.name() != DialectCAGW {
		return EventPage{}, ErrNoLookup
	}
	if caID == "" {
		caID = c.cfg.CAID
	}
	var page EventPage
	status, err := c.listEvents(ctx, caID, since, index, func(body []byte) error {
		wire, err := parseEvents(body)
		page = wire.page()
		return err
	})
	if err == nil && page.More && (page.Next == "" || page.Next == index) {
		err = &Error{Op: OpFind, Fate: Unreadable, Class: classOther, HTTPStatus: status, Message: "the gateway says that there are more events but names no further page"}
	}
	return page, err
}

func (w wireEvents) page() EventPage {
	page := EventPage{More: w.MorePages || w.HasMore, Next: pageIndex(w.Next)}
	for _, ev := range w.Events {
		e := Event{
			Action: bound(string(ev.Action), maxCode), Date: eventDate(string(ev.Date)),
			Reason: eventText(ev.Reason), Detail: eventText(ev.Detail),
		}
		if y := e.Date.Year(); y < 1 || y > 9999 {
			e.Date = time.Time{} // RFC 3339 and JSON cannot express it
		}
		if n, ok := new(big.Int).SetString(strings.TrimSpace(string(ev.Serial)), 16); ok && n.Sign() > 0 && n.BitLen() <= 160 {
			e.Serial = hexSerial(n, 0)
		}
		for _, cert := range readCertificates(ev.Certificate).certs {
			if e.Certificate == nil {
				e.Certificate, e.Serial = cert, hexSerial(cert.SerialNumber, 0)
			}
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", e.Serial, ev.Action, ev.Kind, ev.Date, e.Reason))
		e.ID = hex.EncodeToString(sum[:16])
		page.Events = append(page.Events, e)
	}
	return page
}

// eventText returns a text of an event, cleaned; "" if the member is no text.
func eventText(raw []byte) string {
	s, _ := plainText(raw)
	return clean(s)
}
