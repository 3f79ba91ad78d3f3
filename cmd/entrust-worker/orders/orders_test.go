package orders

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

func TestKeys(t *testing.T) {
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
			keys, err := Keys(tc.args, tc.producer)
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

// keysOf prints without order.Key's own String.
func keysOf(keys []order.Key) string {
	var parts []string
	for _, k := range keys {
		parts = append(parts, "{"+k.Producer+" "+k.ID+"}")
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func TestFirstOrders(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var orders []*timeline.Facts
	for _, minutes := range []int{5, 0, 1, 9, 0, 3} {
		o := &timeline.Facts{ID: fmt.Sprint(minutes)}
		if minutes > 0 {
			o.NextWakeup = now.Add(time.Duration(minutes) * time.Minute)
		}
		orders = append(orders, o)
	}
	for limit, want := range map[int][]string{2: {"1", "3"}, 0: {"1", "3", "5", "9", "0", "0"}, 9: {"1", "3", "5", "9", "0", "0"}} {
		var got []string
		for _, o := range firstOrders(slices.Clone(orders), "wake-up", limit) {
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
	js := testbed.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		t.Fatal(err)
	}
	d := newDesk(&connect.Bus{JS: js, Layout: layout, Subjects: layout.Subjects()})
	const n = 3 * terminal.Page
	deadline := time.Now().Add(time.Hour).UTC()
	park(t, ctx, js, d, n, deadline)

	list := func(sort string, limit int) ([]string, bool) {
		t.Helper()
		var out bytes.Buffer
		f := parkedFilter(t)
		shown := &terminal.Terminal{Out: &out, Err: &out, Now: time.Now}
		l := lister{d, shown, f, shown.Layout(terminal.Format{}, columns()...)}
		more, err := l.list(ctx, sort, limit)
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
	// The wake-ups were scheduled so that the last order is polled first.
	if first, more := list("wake-up", 2); len(first) != 2 || !more || !strings.HasPrefix(first[0], fmt.Sprintf("web.%d\t", n-1)) {
		t.Errorf("sorted by poll: %q, more %t", first, more)
	}
}

func parkedFilter(t *testing.T) *orderFilter {
	t.Helper()
	f := new(orderFilter)
	f.add(pflag.NewFlagSet("ls", pflag.ContinueOnError))
	f.addSearch(f.flags)
	f.phase = string(order.Awaiting)
	if err := f.check(time.Now()); err != nil {
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
				key := order.Key{Producer: "web", ID: fmt.Sprint(i)}
				request := &order.Message{Subject: "entrust.request.web.issue", Body: []byte("{}")}
				rec := order.Record{Phase: order.Awaiting, Kind: "issue", Deadline: deadline, Request: request}
				if _, err = d.ledger.Write(key, order.Stored{}, rec, nil).Try(ctx); err == nil {
					err = d.wakeups.Schedule(ctx, &order.Wakeup{Key: key, Kind: "issue", Lane: order.LanePoll, Polls: 3, Due: deadline.Add(-time.Duration(i) * time.Second / 2), Deadline: deadline, Request: request})
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
