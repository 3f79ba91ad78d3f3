package control

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// Each key of the bucket contributes to the state, with times by the reader's clock.
func TestStateOfKeys(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	strange := "worker.example.org-1"
	for _, tc := range []struct {
		name, key, value string
		age              time.Duration
		want             State
	}{
		{"a worker", "worker.w1", `{"worker":"w1","up":"1h0m0s","version":"v1.2.3","certificate_end":"2027-01-01T00:00:00Z","skew_ns":2000,"skew_known":true}`, 3 * time.Second,
			State{Workers: []Presence{{Worker: "w1", Seen: ago(3 * time.Second), Started: ago(time.Hour + 3*time.Second), About: About{
				Version: "v1.2.3", CertificateEnd: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Skew: 2 * time.Microsecond, SkewKnown: true,
			}}}}},
		{"an older worker", "worker." + token(strange), `{"worker":"` + strange + `"}`, time.Second, State{Workers: []Presence{{Worker: strange, Seen: ago(time.Second)}}}},
		{"a silent worker", "worker.w1", `{"worker":"w1"}`, liveFor, State{Workers: []Presence{{Worker: "w1", Seen: ago(liveFor), Silent: true}}}},
		{"a worker under another's key", "worker.w2", `{"worker":"w1"}`, 0, State{}},
		{"no worker", "worker.w2", `rubbish`, 0, State{}},
		{"an open breaker", "breaker.enroll.ca-1", `{"state":"open","ca":"ca-1","opening":"x","number":2,"interval":"4s","producer":"web","worker":"w1","lasted":"10s","cause":"500"}`, time.Second,
			State{Breakers: []Breaker{{Operation: "enroll", CA: "ca-1", Since: ago(11 * time.Second), Next: now.Add(3 * time.Second), Canaries: 2, Cause: "500", Worker: "w1", Producer: "web"}}}},
		{"one of an older worker", "breaker.enroll.ca-1", `{"state":"open","ca":"ca-1","opening":"x","interval":"4s","worker":"w1"}`, time.Minute,
			State{Breakers: []Breaker{{Operation: "enroll", CA: "ca-1", Next: ago(56 * time.Second), Worker: "w1"}}}},
		{"a closed breaker", "breaker.enroll.ca-1", `{"state":"closed","ca":"ca-1","opening":"x"}`, 0, State{}},
		{"a pause", "pause.x", `{"duration":"30s","worker":"w1"}`, 10 * time.Second, State{Pauses: []PauseLeft{{Until: now.Add(20 * time.Second), Worker: "w1"}}}},
		{"a pause that is over", "pause.x", `{"duration":"30s","worker":"w1"}`, 30 * time.Second, State{}},
		{"a suspension", "suspended.issue.web.=", `{"lane":"issue","producer":"web","operator":"ann","reason":"wrong profile"}`, time.Minute,
			State{Suspensions: []Suspension{{Scope: Scope{Lane: "issue", Producer: "web"}, Operator: "ann", Reason: "wrong profile", Since: ago(time.Minute)}}}},
		{"a suspension under another's key", "suspended.issue.web.=", `{"lane":"issue","operator":"ann"}`, 0, State{}},
		{"a scan", "scan.recent", `{"complete":true,"every_ns":60000000000,"oldest_ns":3000000000,"waiting":{"awaiting":3,"deferred":2,"in_doubt":1,"other":0},"next_due_ns":1000000000}`, time.Minute,
			State{Watchdog: Watchdog{
				Scanned: ago(time.Minute), Every: time.Minute, Waiting: Waiting{Awaiting: 3, Unaccepted: 2, Indeterminate: 1}, Counted: ago(time.Minute),
				OldestSince: ago(time.Minute + 3*time.Second), NextDue: ago(time.Minute - time.Second),
			}}},
		{"a scan of an older worker", "scan.recent", `{"complete":true}`, time.Minute, State{Watchdog: Watchdog{Scanned: ago(time.Minute)}}},
		{"a whole scan under way", "scan.full", `{"before_ns":3600000000000}`, time.Minute, State{Watchdog: Watchdog{ScannedAll: ago(time.Hour + time.Minute)}}},
		{"a rollback", "rollback", `{"count":2,"worker":"w1"}`, time.Hour, State{Rollback: Rollback{Count: 2, Worker: "w1", At: ago(time.Hour)}, RolledBack: ago(time.Hour)}},
		{"what this version does not know", "newer.x", `{}`, 0, State{}},
		{"a count of a poison message", "poison.S.1", `{"tries":1}`, 0, State{}},
	} {
		var got State
		got.take(tc.key, []byte(tc.value), now.Add(-tc.age), now)
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s:\n%+v, want\n%+v", tc.name, got, tc.want)
		}
	}
}

// Each beat of a worker has its report, as bounded lines of text. An opening keeps its
// beginning and cause over canaries.
func TestReadState(t *testing.T) {
	t.Parallel()
	server, _ := newBus(t)
	js, ctx := server.JetStream(t), t.Context()
	a := Open(Config{JS: server.JetStream(t), Bucket: bucket, Worker: "a", Gateway: "https://gateway.example", About: func() About {
		return About{Version: "v9", GatewayProblem: "down\nsince\x1b[31m today", CertificateProblem: strings.Repeat("x", 1000)}
	}})
	run(t, a, Handlers{})
	run(t, worker(server.JetStream(t), "b"), Handlers{})
	eventually(t, "both workers", func() bool { return a.Workers() == 2 })
	_, _, err := a.OpenBreaker(ctx, "enroll", "ca-1", doublings, "503 of\nthe gateway")
	must(t, err)
	eventually(t, "a canary", func() bool {
		taken, _, _, err := a.TakeCanary(ctx, "enroll", "ca-1", "web")
		must(t, err)
		return taken
	})
	must(t, a.Pause(ctx, time.Minute))
	_, err = a.CountTry(ctx, Message{Stream: "S", Sequence: 1})
	must(t, err)

	var s State
	eventually(t, "a measured clock", func() bool {
		s, err = ReadState(ctx, js, bucket, 0)
		must(t, err)
		return len(s.Workers) == 2 && s.Workers[0].SkewKnown
	})
	p := s.Workers[0]
	if p.Worker != "a" || p.Version != "v9" || p.GatewayProblem != "down since [31m today" || len([]rune(p.CertificateProblem)) != maxText || p.Silent {
		t.Errorf("a worker is shown as %+v", p)
	}
	if p := s.Workers[1]; p.Worker != "b" || p.Version != "" {
		t.Errorf("the other worker is shown as %+v", p)
	}
	if len(s.Breakers) != 1 || len(s.Pauses) != 1 {
		t.Fatalf("open breakers %+v, pauses %+v", s.Breakers, s.Pauses)
	}
	b := s.Breakers[0]
	if b.Cause != "503 of the gateway" || b.Producer != "web" || b.Canaries != 1 || b.Next.Sub(b.Since) < FirstInterval+2*FirstInterval {
		t.Errorf("the breaker is shown as %+v", b)
	}
	if left := time.Until(s.Pauses[0].Until); left <= 0 || left > time.Minute {
		t.Errorf("the pause lasts for another %s", left)
	}
	if s, err := ReadState(ctx, js, "NO_SUCH", 0); err == nil {
		t.Errorf("a bucket that is not there was read as %+v", s)
	}
}
