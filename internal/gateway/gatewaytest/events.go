package gatewaytest

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// eventView is one certificate event.
type eventView struct {
	Action       string `json:"action"`
	Event        int    `json:"event"`
	EventDate    string `json:"eventDate"`
	Certificate  string `json:"certificate,omitempty"`
	SerialNumber string `json:"serialNumber"`
	Detail       string `json:"detail"`
	Reason       string `json:"reason,omitempty"`
}

// eventsAnswer is a page of events. The flags are pointers, since a gateway sends one name
// or the other.
type eventsAnswer struct {
	Type          string      `json:"type"`
	Events        []eventView `json:"events"`
	NextPageIndex string      `json:"nextPageIndex"`
	MorePages     *bool       `json:"morePages,omitempty"`
	HasMore       *bool       `json:"hasMore,omitempty"`
}

// listEvents serves GET …/certificate-events. nextPageIndex is "<empty pages
// sent>.<position in the log>"; clients must not rely on its form.
func (s *Server) listEvents(c *call) *answer {
	if err := s.settleDue(c.now); err != nil {
		return s.internalError(c)
	}
	from, err := instant(c.query.Get("startDate"))
	if err != nil {
		return s.refusalAnswer(c, refuse("startDate", "The date is not an ISO 8601 instant"))
	}
	size := s.cfg.EventPageSize
	if text := c.query.Get("preferredPageSize"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return s.refusalAnswer(c, refuse("preferredPageSize", "The page size is not a positive number"))
		}
		size = min(size, n)
	}
	empties, position, err := parsePageIndex(c.query.Get("nextPageIndex"))
	if err != nil {
		return s.refusalAnswer(c, refuse("nextPageIndex", "The page index is unknown"))
	}
	if from.IsZero() {
		from = time.Unix(0, 0)
	}
	until := c.now.Add(-s.cfg.EventDelay)
	page := eventsAnswer{Type: "CertificateEventsResponse", Events: []eventView{}}
	more := true
	if empties < s.cfg.EmptyEventPages {
		empties++
	} else {
		var orders []eventOrder
		orders, position, more = s.store.eventsFrom(position, size, c.ca, from.UnixNano(), until.UnixNano())
		withBody := !slices.Contains(c.fields(), "-events.certificate")
		for _, e := range orders {
			page.Events = append(page.Events, s.eventView(e, withBody))
		}
	}
	page.NextPageIndex = fmt.Sprintf("%d.%d", empties, position)
	if s.cfg.EventFlag != "hasMore" {
		page.MorePages = &more
	}
	if s.cfg.EventFlag != "morePages" {
		page.HasMore = &more
	}
	return jsonAnswer(http.StatusOK, page)
}

// instant reads a date or an instant; zero for "".
func instant(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		t, err = time.Parse(time.RFC3339Nano, text)
	}
	if err == nil && (t.Year() < 1970 || t.Year() > 2200) {
		err = strconv.ErrRange // out of the range of nanoseconds
	}
	return t, err
}

func parsePageIndex(text string) (empties, position int, err error) {
	if text == "" {
		return 0, 0, nil
	}
	left, right, _ := strings.Cut(text, ".")
	if empties, err = strconv.Atoi(left); err != nil {
		return 0, 0, err
	}
	position, err = strconv.Atoi(right)
	if position < 0 {
		err = strconv.ErrRange
	}
	return empties, position, err
}

// eventOrder is an event with the shown fields of its order.
type eventOrder struct {
	event
	cert   []byte
	reason string
}

// eventsFrom returns up to size events of a CA in [from, until], from a position of the log
// on. It also returns the position after them, and whether there are more.
func (st *store) eventsFrom(position, size int, ca uint8, from, until int64) (page []eventOrder, next int, more bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	first := sort.Search(len(st.events), func(i int) bool { return st.events[i].at >= from })
	last := sort.Search(len(st.events), func(i int) bool { return st.events[i].at > until })
	next = max(position, first)
	for ; next < last && len(page) < size; next++ {
		e := st.events[next]
		o := st.at(e.num)
		if o.ca != ca {
			continue
		}
		out := eventOrder{event: e, cert: o.cert}
		if rev := st.actions[e.num]; rev != nil && e.action != valid {
			out.reason = rev.reason
		}
		page = append(page, out)
	}
	return page, next, next < last
}

func (s *Server) eventView(e eventOrder, withBody bool) eventView {
	view := eventView{
		Action: "issued", Event: 1, EventDate: time.Unix(0, e.at).UTC().Format(time.RFC3339Nano),
		SerialNumber: s.hexSerial(new(big.Int).SetBytes(s.store.nonce.serial(e.num))), Reason: e.reason,
	}
	switch {
	case e.lifted:
		view.Action, view.Event = "unheld", 4
	case e.action == revoked:
		view.Action, view.Event = "revoked", 2
	case e.action == held:
		view.Action, view.Event = "held", 3
	}
	if withBody {
		view.Certificate = base64.StdEncoding.EncodeToString(e.cert)
	}
	return view
}
