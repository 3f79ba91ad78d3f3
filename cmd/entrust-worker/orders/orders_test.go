package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/natstest"
	"github.com/entrust-worker/entrust-worker/internal/parking"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

func TestOrderKeys(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args     []string
		producer string
		want     string // "" for an error
	}{
		"whole names":            {[]string{"web.a", "mail.b"}, "", "[{web a} {mail b}]"},
		"ids of a producer":      {[]string{"a", "b"}, "web", "[{web a} {web b}]"},
		"both, agreeing":         {[]string{"web.a"}, "web", "[{web a}]"},
		"both, disagreeing":      {[]string{"web.a"}, "mail", ""},
		"no producer":            {[]string{"a"}, "", ""},
		"three parts":            {[]string{"web.a.1"}, "", ""},
		"no token":               {[]string{"web.*"}, "", ""},
		"no token as a producer": {[]string{"a"}, "w w", ""},
		"empty":                  {[]string{""}, "web", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, err := orderKeys(tc.args, tc.producer)
			got := ""
			if err == nil {
				got = fmt.Sprintf("%+v", keysOf(keys))
			}
			if got != tc.want {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

// keysOf prints without ledger.Key's own String.
func keysOf(keys []ledger.Key) string {
	var parts []string
	for _, k := range keys {
		parts = append(parts, "{"+k.Producer+" "+k.ID+"}")
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func TestSpanFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "2w": 336 * time.Hour, "0.5d": 12 * time.Hour, "0": 0,
	} {
		var s spanFlag
		if err := s.Set(text); err != nil || time.Duration(s) != want {
			t.Errorf("%s: got %v, %v; want %v", text, time.Duration(s), err, want)
		}
	}
	for _, text := range []string{"", "d", "-1h", "-1d", "soon", "1y", "99999999d", "NaNd", "infw"} {
		var s spanFlag
		if err := s.Set(text); err == nil {
			t.Errorf("%q was taken as %v", text, time.Duration(s))
		}
	}
}

func TestSpanInWords(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 59*time.Second + 900*time.Millisecond: "59s", time.Minute: "1m00s", 61 * time.Minute: "1h01m", 49 * time.Hour: "2d01h", -time.Minute: "1m00s",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

// Whoever may publish to the bus writes into these rows.
func TestListingKeepsItsForm(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newListing(&out, false, false, "A", "B")
	for _, cells := range [][]string{{"1", "x\ty\nz"}, {"2", "\x1b[2J\x07"}} {
		if err := l.add(nil, cells...); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "A\tB\n1\tx y z\n2\t [2J \n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListingOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newListing(&out, false, true, "ORDER", "ERROR")
	if err := l.add(nil, "web.a", strings.Repeat("long ", 30)+"\x1b[2J"); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 0 {
		t.Fatal("a table was begun before its rows are known")
	}
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "ORDER") || strings.ContainsAny(out.String(), "\x1b\t") || len([]rune(lines[1])) > 80 {
		t.Errorf("got %q", lines)
	}

	out.Reset()
	empty := newListing(&out, false, true, "ORDER")
	empty.none = "no orders"
	if err := empty.end(); err != nil || out.String() != "no orders\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// Off a terminal, and where people say so, there is no colour: newListing has none.
func TestListingInColour(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newListing(&out, false, true, "ORDER", "OUTCOME", "ERROR")
	l.colour = true
	for _, outcome := range []string{"issued", "failed", "strange"} {
		if err := l.add(nil, "issued", outcome, "failed"); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\x1b["); n != 4 || !strings.Contains(out.String(), "\x1b[32missued\x1b[0m") || !strings.Contains(out.String(), "\x1b[31mfailed\x1b[0m") {
		t.Errorf("%d colours in %q", n, out.String())
	}
}

func TestFirstOrders(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var orders []*order
	for _, minutes := range []int{5, 0, 1, 9, 0, 3} {
		o := &order{ID: fmt.Sprint(minutes)}
		if minutes > 0 {
			o.NextPoll = now.Add(time.Duration(minutes) * time.Minute)
		}
		orders = append(orders, o)
	}
	for limit, want := range map[int][]string{2: {"1", "3"}, 0: {"1", "3", "5", "9", "0", "0"}, 9: {"1", "3", "5", "9", "0", "0"}} {
		var got []string
		for _, o := range firstOrders(slices.Clone(orders), "poll", limit) {
			got = append(got, o.ID)
		}
		if !slices.Equal(got, want) { // those without a poll come last
			t.Errorf("limit %d: got %v, want %v", limit, got, want)
		}
	}
}

// More parked orders than are asked for one by one, and a listing longer than it holds.
func TestListManyOrders(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	js := natstest.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		t.Fatal(err)
	}
	d := &desk{js: js, layout: layout, ledger: ledger.New(js, layout.Orders), lot: parking.New(js, layout.Parked, layout.Subjects())}
	const n = 3 * tablePage
	deadline := time.Now().Add(time.Hour).UTC()
	park(t, ctx, js, d, n, deadline)

	list := func(sort string, limit int) ([]string, bool) {
		t.Helper()
		var out bytes.Buffer
		f := parkedFilter(t)
		more, err := listOrders(ctx, d, f, sort, limit, newListing(&out, false, false, "ORDER", "KIND", "STATE", "OUTCOME", "REPLAY", "AGE", "NEXT POLL", "POLLS", "DEADLINE", "TRACKING ID"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return lines[1:], more
	}
	all, more := list("", 0)
	if len(all) != n || more {
		t.Fatalf("listed %d orders, more %t; want %d", len(all), more, n)
	}
	for _, line := range all {
		if fields := strings.Split(line, "\t"); fields[6] == "" || fields[7] != "3" {
			t.Fatalf("an order lacks its wake-up: %q", line)
		}
	}
	if some, more := list("", 7); len(some) != 7 || !more {
		t.Errorf("listed %d orders, more %t; want 7 and more", len(some), more)
	}
	// Slots were armed so that the last order is polled first.
	if first, more := list("poll", 2); len(first) != 2 || !more || !strings.HasPrefix(first[0], fmt.Sprintf("web.%d\t", n-1)) {
		t.Errorf("sorted by poll: %q, more %t", first, more)
	}
}

func parkedFilter(t *testing.T) *orderFilter {
	t.Helper()
	f := new(orderFilter)
	cmd := ordersLsCommand(nil)
	f.flags = cmd.Flags()
	f.state = string(ledger.Parked)
	if err := f.check(); err != nil {
		t.Fatal(err)
	}
	return f
}

// park writes n parked orders, the last of them due first.
func park(t *testing.T, ctx context.Context, js jetstream.JetStream, d *desk, n int, deadline time.Time) {
	t.Helper()
	const hands = 32
	failed := make(chan error, hands)
	for hand := range hands {
		go func() {
			var err error
			for i := hand; i < n && err == nil; i += hands {
				key := ledger.Key{Producer: "web", ID: fmt.Sprint(i)}
				request := &ledger.Request{Subject: "entrust.request.web.issue", Body: []byte("{}")}
				if err = d.ledger.Create(ctx, key, &ledger.Record{State: ledger.Parked, Kind: "issue", Deadline: deadline, Request: request}); err == nil {
					err = d.lot.Arm(ctx, &parking.Slot{Key: key, Kind: "issue", Attempt: 3, Due: deadline.Add(-time.Duration(i) * time.Second / 2), Deadline: deadline, Request: request})
				}
			}
			failed <- err
		}()
	}
	for range hands {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}

// Somebody waits for an approval, for hours.
func TestStayingOutlivesServers(t *testing.T) {
	t.Parallel()
	o := nats.GetDefaultOptions()
	for _, opt := range (&app{}).staying() {
		if err := opt(&o); err != nil {
			t.Fatal(err)
		}
	}
	if o.MaxReconnect >= 0 || !o.IgnoreAuthErrorAbort {
		t.Errorf("a verb that waits gives up after %d reconnects", o.MaxReconnect)
	}
}
