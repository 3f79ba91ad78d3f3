package wakeup_test

import (
	"errors"
	"maps"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// Every field of a wake-up survives the schedule and the due message. So do the headers of the
// request that the server would strip or obey.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	due := time.Now().Add(300 * time.Millisecond)
	rows := []*order.Wakeup{wake("whole", due)}
	for field := range reflect.TypeFor[order.Wakeup]().NumField() {
		f := reflect.TypeFor[order.Wakeup]().Field(field)
		if f.Name != "Observed" && f.Name != "At" && reflect.ValueOf(rows[0]).Elem().Field(field).IsZero() {
			t.Fatalf("the test leaves field %s out", f.Name)
		}
	}
	for i, lane := range order.Lanes() {
		kind := []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindCancel}[i]
		rows = append(rows, &order.Wakeup{Key: order.Key{Producer: "shop", ID: "bare-" + string(lane)}, Kind: kind, Lane: lane, Due: due.UTC()})
	}
	at := wake("at", due.Add(time.Hour)) // fires at At, and keeps Due
	at.At = due
	rows = append(rows, at)
	observed := wake("observed", due)
	observed.Lane, observed.Observed, observed.Deadline, observed.TrackingID = order.LaneResubmit, 1<<63+7, time.Time{}, ""
	rows = append(rows, observed)
	hostile := wake("hostile", due)
	hostile.Request.Header = map[string][]string{
		"Content-Type": {"application/msgpack", "again"}, "traceparent": {"00-1-2-3"}, "tracestate": {"a=b"}, "X-Latin": {"M\xfcller", ""},
		// Headers that would change the schedule, or be taken for the wake-up's own.
		"Nats-Schedule": {"@at 2000-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"entrust.due.poll.other.o"}, "Nats-Schedule-TTL": {"1s"},
		"Nats-Schedule-Rollup": {"sub"}, "Nats-TTL": {"1s"}, "Nats-Rollup": {"all"}, "Nats-Expected-Stream": {"OTHER"},
		"Nats-Expected-Last-Subject-Sequence": {"99"}, "Nats-Msg-Id": {"shop.x"},
		"Entrust-Format": {"99"}, "Entrust-Due": {"never"}, "Entrust-Observed-Revision": {"5"}, "Entrust-Request-Subject": {"elsewhere"},
		"Entrust-Tracking-Id": {"T-9"}, "Entrust-Original-X": {"twice"},
	}
	rows = append(rows, hostile)
	capital := wake("capital", due)
	capital.Request.Header = map[string][]string{"Content-Type": {"application/msgpack"}, "Traceparent": {"00-1-2-3"}, "TRACESTATE": {"a=b"}}
	rows = append(rows, capital)
	for _, w := range rows {
		r.schedule(w)
	}
	check := func(what string, got, want *order.Wakeup) {
		t.Helper()
		plain := *want
		plain.At = time.Time{} // not read back
		want = &plain
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s of %s came back as %+v\nwith %+v,\nwant %+v\nwith %+v", what, want.Key, got, got.Request, want, want.Request)
		}
	}
	byID := map[string]*order.Wakeup{}
	for _, want := range rows {
		byID[want.Key.ID] = want
		got, sequence, err := r.store.Find(t.Context(), want.Key)
		if err != nil || sequence == 0 {
			t.Fatalf("finding %s: %v", want.Key, err)
		}
		check("the wake-up", got, want)
	}
	for _, lane := range order.Lanes() {
		for _, want := range rows {
			if want.Lane != lane {
				continue
			}
			got, m := r.next(r.lane(lane))
			check("the due message", got, byID[got.Key.ID])
			delete(byID, got.Key.ID)
			if trace := m.Headers().Get("traceparent"); got.Request != nil && trace != "00-1-2-3" {
				t.Errorf("the trace on the bus is %q", trace)
			}
			if kind := m.Headers().Get("Content-Type"); got.Request != nil && kind != got.Request.Get("Content-Type") {
				t.Errorf("the content type on the bus is %q", kind)
			}
			r.ack(m)
		}
	}
	if len(byID) != 0 {
		t.Errorf("%d wake-ups did not come", len(byID))
	}
}

// A due message reaches only the consumer of its lane.
func TestLanes(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	for _, lane := range order.Lanes() {
		w := wake("x", time.Now()) // one order: due messages of different lanes do not replace each other
		w.Lane = lane
		r.schedule(w)
		got, m := r.next(r.lane(lane))
		if got.Lane != lane || m.Subject() != r.layout.Subjects().Due(string(lane), "shop", "x") {
			t.Errorf("lane %s got %+v on %s", lane, got, m.Subject())
		}
		for _, other := range order.Lanes() {
			info, err := r.lane(other).Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n := int(info.NumPending) + info.NumAckPending; (n != 0) != (other == lane) {
				t.Errorf("after a due message of lane %s the consumer of %s has %d", lane, other, n)
			}
		}
		r.wakes(got.Key, got.Generation, true, "a due message of lane "+string(lane)+" in flight")
		r.ack(m)
		r.wakes(got.Key, got.Generation, false, "a due message of lane "+string(lane)+" acknowledged")
	}
	if len(order.Lanes()) != 4 {
		t.Errorf("%d lanes", len(order.Lanes()))
	}
}

// published publishes a copy of an order's wake-up on a subject, with changed headers.
func (r *rig) published(subject string, w *order.Wakeup, change func(nats.Header)) *nats.Msg {
	r.t.Helper()
	r.schedule(w)
	m, err := streams.Last(r.t.Context(), r.js, r.layout.Parked, r.layout.Subjects().Parked(w.Key.Producer, w.Key.ID))
	if err != nil {
		r.t.Fatal(err)
	}
	msg := &nats.Msg{Subject: subject, Header: maps.Clone(m.Header), Data: m.Data}
	delete(msg.Header, "Nats-Expected-Stream")
	change(msg.Header)
	if _, err := r.js.PublishMsg(r.t.Context(), msg); err != nil {
		r.t.Fatal(err)
	}
	return msg
}

// A wake-up of a newer format is left alone: it is not read, removed or replaced, and the order
// counts as woken.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	w := wake("x", time.Now().Add(time.Hour))
	subject := r.layout.Subjects().Parked("shop", "x")
	msg := r.published(subject, w, func(h nats.Header) {
		h.Set("Entrust-Format", strconv.Itoa(order.Format+1))
		h.Set(entrustbus.HeaderReplay, "a form that this worker does not know")
		h.Del(entrustbus.HeaderDue)
	})
	got, err := r.store.Read(r.layout.Subjects().Due("poll", "shop", "x"), msg.Header, msg.Data)
	if !errors.Is(err, wakeup.ErrNewerFormat) || got == nil || got.Key != w.Key {
		t.Errorf("reading it: %+v, %v; want ErrNewerFormat and the key", got, err)
	}
	if _, _, err := r.store.Find(t.Context(), w.Key); !errors.Is(err, wakeup.ErrNewerFormat) {
		t.Errorf("finding it: %v, want ErrNewerFormat", err)
	}
	n := 0
	for f, err := range r.store.All(t.Context()) {
		if n++; !errors.Is(err, wakeup.ErrNewerFormat) || errors.Is(err, wakeup.ErrNotAWakeup) || f.Wakeup == nil || f.Key != w.Key || f.Fired {
			t.Errorf("a scan met %+v, %v; want ErrNewerFormat and the key", f, err)
		}
	}
	if n != 1 {
		t.Errorf("a scan met %d messages, want 1", n)
	}
	r.wakes(w.Key, 7, true, "newer format")
	if err := r.store.Cancel(t.Context(), w.Key, 7); err != nil {
		t.Fatal(err)
	}
	r.wakes(w.Key, 7, true, "after a cancel")
}

// A message of another publisher in the stream wakes no order, ends no scan, and is not read as
// a wake-up.
func TestNotAWakeup(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	subjects := r.layout.Subjects()
	for name, change := range map[string]func(nats.Header){
		"no-headers":    func(h nats.Header) { clear(h) },
		"no-format":     func(h nats.Header) { h.Del("Entrust-Format") },
		"format-word":   func(h nats.Header) { h.Set("Entrust-Format", "one") },
		"no-due":        func(h nats.Header) { h.Del(entrustbus.HeaderDue) },
		"due-word":      func(h nats.Header) { h.Set(entrustbus.HeaderDue, "soon") },
		"deadline-word": func(h nats.Header) { h.Set(entrustbus.HeaderDeadline, "later") },
		"kind":          func(h nats.Header) { h.Set(entrustbus.HeaderKind, "renew") },
		"no-count":      func(h nats.Header) { h.Del(entrustbus.HeaderAttempt) },
		"negative":      func(h nats.Header) { h.Set(entrustbus.HeaderReplay, "-1") },
		"observed":      func(h nats.Header) { h.Set("Entrust-Observed-Revision", "-1") },
		"no-target":     func(h nats.Header) { h.Del("Nats-Schedule-Target"); h.Del("Nats-Schedule") },
	} {
		key := order.Key{Producer: "shop", ID: name}
		msg := r.published(subjects.Parked("shop", name), wake(name, time.Now().Add(time.Hour)), change)
		on := subjects.Due("poll", "shop", name)
		if name == "no-target" {
			on = subjects.Due("nowhere", "shop", name)
		}
		if w, err := r.store.Read(on, msg.Header, msg.Data); err == nil || errors.Is(err, wakeup.ErrNewerFormat) {
			t.Errorf("%s: read as %+v, %v", name, w, err)
		}
		r.wakes(key, 0, false, name)
		if w, _, err := r.store.Find(t.Context(), key); w != nil || err != nil {
			t.Errorf("%s: found %+v, %v; want none", name, w, err)
		}
	}
	r.schedule(wake("good", time.Now().Add(time.Hour)))
	good, odd := 0, 0
	for f, err := range r.store.All(t.Context()) {
		switch {
		case errors.Is(err, wakeup.ErrNotAWakeup):
			odd++
		case err != nil:
			t.Fatal(err)
		case f.Key.ID == "good":
			good++
		}
	}
	if good != 1 || odd != 11 {
		t.Errorf("a scan met %d wake-ups and %d other messages, want 1 and 11", good, odd)
	}
	if _, err := r.store.Read("entrust.request.shop.issue", nats.Header{}, nil); err == nil {
		t.Error("a request was read as a due message")
	}
}
