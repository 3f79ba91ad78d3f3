package status

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
)

// noon is the time of these tests.
func noon() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }

// troubled is a fleet with everything there is to show.
func troubled() snapshot.Snapshot {
	now := noon()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	s := snapshot.Snapshot{At: now, NATS: snapshot.NATS{Connected: true, URL: "nats://nats.example.org:4222", Version: "2.15.2", Answered: now, RTT: time.Millisecond}}
	s.Fleet = snapshot.Part[control.State]{At: now, Of: control.State{
		Workers: []control.Presence{
			{Worker: "entrust-worker-7d9f8b6c5d-k8s01-with-a-long-name-x1", Seen: ago(2 * time.Second), Started: ago(3 * time.Hour), About: control.About{
				Version: "v1.2.3-0.20261129120000-0123456789ab", CertificateEnd: now.Add(40 * 24 * time.Hour), Skew: -90 * time.Millisecond, SkewKnown: true,
			}},
			{Worker: "older", Seen: ago(20 * time.Second), Silent: true},
		},
		Breakers:    []control.Breaker{{Operation: "enroll", CA: "CN=A CA with quite a long name, O=Example", Since: ago(time.Hour), Next: now.Add(7 * time.Second), Cause: strings.Repeat("503 ", 50)}},
		Pauses:      []control.PauseLeft{{Until: now.Add(30 * time.Second), Worker: "older"}},
		Suspensions: []control.Suspension{{Scope: control.Scope{Lane: "issue", Producer: "web"}, Operator: "ann", Reason: "a\x1b[31mudit\nof today", Since: ago(time.Minute)}},
		Watchdog: control.Watchdog{
			Scanned: ago(time.Minute), ScannedAll: ago(time.Hour), Counted: ago(time.Minute), NextDue: now.Add(9 * time.Second), OldestSince: ago(50 * time.Hour),
			Waiting: control.Waiting{Awaiting: 1000, Unaccepted: 200, Indeterminate: 30, Other: 4},
		},
	}}
	s.Lanes = snapshot.Part[[]snapshot.Lane]{At: now, Of: []snapshot.Lane{{Name: "issue", InFlight: 64, Backlog: 123456, Oldest: ago(5 * time.Minute)}, {Name: "revoke"}}}
	s.Parked = snapshot.Part[snapshot.Parked]{At: now, Of: snapshot.Parked{Orders: 1234}}
	s.Letters = snapshot.Part[[]snapshot.Letters]{At: now, Of: []snapshot.Letters{{Reason: order.Unconfirmed, Count: 7, Oldest: ago(time.Hour)}, {Reason: order.Expired}}}
	s.Streams = snapshot.Part[[]snapshot.Stream]{At: now, Of: []snapshot.Stream{
		{Name: "ENTRUST_REQUESTS", Messages: 123456, Bytes: 900 << 20, MaxBytes: 1 << 30, Fullness: 0.88, Replicas: 3, Behind: 1, Last: ago(time.Second)}, {Name: "ENTRUST_PARKED", Replicas: 3},
	}}
	return s
}

// Everything is shown, fits the width, and moves no cursor.
func TestLines(t *testing.T) {
	t.Parallel()
	for _, width := range []int{40, 60, 80, 200} {
		for _, colour := range []bool{false, true} {
			lines := printer{now: noon(), width: width, colour: colour}.lines(troubled())
			for _, line := range lines {
				if n := text.StringWidthWithoutEscSequences(line); n > width {
					t.Errorf("%d characters at a width of %d: %q", n, width, line)
				}
				if !colour && strings.Contains(line, "\x1b") || strings.Contains(line, "\x1b[31mudit") {
					t.Errorf("an escape sequence: %q", line)
				}
			}
		}
	}
	whole := strings.Join(printer{now: noon(), width: 80}.lines(troubled()), "\n")
	for _, want := range []string{
		"WARNING   worker older has been silent for 20s\n          do: check the worker and its host",
		"…", "ends in 40d00h", "-90ms", "silent 20s",
		"OPEN BREAKERS  1", " 1h00m ", " in 7s ", "PAUSES  1", " 30s ",
		"SUSPENSIONS  1", "lane issue, producer web", " issue          64   123456   5m00s",
		"PARKED ORDERS  1234", "1m00s ago: awaiting 1000, unaccepted 200, indeterminate 30, other 4, oldest\n  2d02h, next due in 9s",
		"watchdog: last scan 1m00s ago, last scan of every record 1h00m ago",
		"DEAD LETTERS  7", "unconfirmed", "900.0 MiB", "88 %", "3, 1 behind", "nats-server 2.15.2",
	} {
		if !strings.Contains(whole, want) {
			t.Errorf("%q is not shown in\n%s", want, whole)
		}
	}
	if !strings.HasPrefix(whole, "WARNING ") || strings.Contains(whole, "expired") {
		t.Errorf("shown is\n%s", whole)
	}
}

// What is stale says so, and what was never read has no figures.
func TestStaleLines(t *testing.T) {
	t.Parallel()
	s := troubled()
	s.NATS.Connected, s.NATS.Problem = false, "not connected to NATS"
	s.Fleet.Problem, s.Lanes.Problem, s.Parked.Problem, s.Letters.Problem, s.Streams.Problem = "x", "x", "x", "x", "x"
	p := printer{now: noon().Add(time.Minute), width: 80}
	lines := strings.Join(p.lines(s), "\n")
	if n := strings.Count(lines, "stale since "+noon().Local().Format(time.TimeOnly)+", 1m00s ago"); n != 8 {
		t.Errorf("%d parts are stale, want 8:\n%s", n, lines)
	}
	if !strings.HasPrefix(lines, "CRITICAL  not connected to NATS\n") || !strings.Contains(lines, "was connected to") {
		t.Errorf("shown is\n%s", lines)
	}
	never := strings.Join(p.lines(snapshot.Unreachable(errors.New("no route\nto host"))), "\n")
	if never != "CRITICAL  no route to host\n          do: entrust-worker check" {
		t.Errorf("shown is\n%s", never)
	}
}
