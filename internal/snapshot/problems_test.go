package snapshot

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Each figure is a problem exactly from its threshold on. A healthy fleet has no problem.
func TestProblems(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const day = 24 * time.Hour
	// healthy is a fleet without a problem.
	healthy := func() Snapshot {
		s := Snapshot{At: now, NATS: NATS{Connected: true, RTT: time.Millisecond}}
		s.Fleet = Part[control.State]{At: now, Of: control.State{
			Workers: []control.Presence{
				{Worker: "w1", Seen: now, Started: ago(day), About: control.About{CertificateEnd: now.Add(90 * day), SkewKnown: true}},
				{Worker: "w2", Seen: now, Started: ago(day), About: control.About{CertificateEnd: now.Add(90 * day), SkewKnown: true}},
			},
			Watchdog: control.Watchdog{Scanned: ago(5 * time.Minute), Every: 5 * time.Minute},
		}}
		s.Lanes = Part[[]Lane]{At: now, Of: []Lane{{Name: "issue", InFlight: 64, Backlog: 1000, Oldest: ago(time.Minute)}, {Name: "poll", Oldest: ago(day)}}}
		s.Parked.At = now
		s.Letters = Part[[]Letters]{At: now, Of: []Letters{{Reason: order.Invalid, Count: 3, Oldest: ago(day)}, {Reason: order.Unconfirmed}}}
		s.Streams = Part[[]Stream]{At: now, Of: []Stream{{Name: "REQUESTS", Fullness: 0.79, Replicas: 3}}}
		return s
	}
	worker := func(s *Snapshot) *control.Presence { return &s.Fleet.Of.Workers[0] }
	for _, tc := range []struct {
		name   string
		change func(*Snapshot)
		want   Severity
		text   string // of the worst problem
	}{
		{"nothing", func(*Snapshot) {}, "", ""},
		{"no connection", func(s *Snapshot) { s.NATS = NATS{Problem: "not connected to NATS"}; s.Lanes.Problem = "the same" }, Critical, "not connected to NATS"},
		{"lanes cannot be read", func(s *Snapshot) { s.Lanes.Problem = "timeout" }, Critical, "the lanes cannot be read: timeout"},
		{"no worker", func(s *Snapshot) { s.Fleet.Of.Workers = nil }, Critical, "no worker is running; requests wait"},
		{"a silent worker", func(s *Snapshot) { worker(s).Silent = true; worker(s).Seen = ago(30 * time.Second) }, Warning, "worker w1 has been silent for 30s"},
		{"silent workers alone", func(s *Snapshot) { s.Fleet.Of.Workers = s.Fleet.Of.Workers[:1]; worker(s).Silent = true }, Critical, "no worker is running; requests wait"},
		{"workers of an older version", func(s *Snapshot) { s.Fleet.Of.Workers = []control.Presence{{Worker: "w1", Seen: now}} }, "", ""},
		{"a certificate that ends", func(s *Snapshot) { worker(s).CertificateEnd = now.Add(13*day + 5*time.Hour) }, Warning, "the client certificate of worker w1 ends in 13d05h"},
		{"a certificate that ends soon", func(s *Snapshot) { worker(s).CertificateEnd = now.Add(47 * time.Hour) }, Critical, "the client certificate of worker w1 ends in 1d23h"},
		{"a certificate that ended", func(s *Snapshot) { worker(s).CertificateEnd = ago(time.Hour) }, Critical, "the client certificate of worker w1 ended 1h00m ago"},
		{"a key pair", func(s *Snapshot) { worker(s).CertificateProblem = "no key" }, Critical, "the key pair of worker w1 cannot be used: no key"},
		{"a worker without a gateway", func(s *Snapshot) { worker(s).GatewayProblem = "down" }, Warning, "1 of 2 workers do not call the gateway: down"},
		{"no gateway", func(s *Snapshot) {
			worker(s).GatewayProblem, s.Fleet.Of.Workers[1].GatewayProblem = "down", "down"
		}, Critical, "no worker calls the gateway: down"},
		{"an open breaker", func(s *Snapshot) {
			s.Fleet.Of.Breakers = []control.Breaker{{Operation: "enroll", CA: "ca-1", Since: ago(3 * time.Minute), Cause: "500"}}
		}, Warning, "the breaker of enroll at CA ca-1 is open for 3m00s: 500"},
		{"a breaker of an older version", func(s *Snapshot) { s.Fleet.Of.Breakers = []control.Breaker{{Operation: "poll", CA: "ca-1"}} }, Warning, "the breaker of poll at CA ca-1 is open"},
		{"a pause", func(s *Snapshot) { s.Fleet.Of.Pauses = []control.PauseLeft{{Until: now.Add(90 * time.Second)}} }, Warning, "the gateway asked for a pause, which ends in 1m30s"},
		{"a suspension", func(s *Snapshot) {
			s.Fleet.Of.Suspensions = []control.Suspension{{Scope: control.Scope{Lane: "issue"}, Operator: "ann", Reason: "audit", Since: ago(time.Hour)}}
		}, Warning, "lane issue suspended by ann for 1h00m: audit"},
		{"a clock", func(s *Snapshot) { worker(s).Skew = -11 * time.Second }, Warning, "the clock of worker w1 is 11s from the NATS server's"},
		{"this host's clock", func(s *Snapshot) { s.NATS.Skew = time.Hour }, Warning, "the clock of this host is 1h00m from the NATS server's"},
		{"a scan that is late", func(s *Snapshot) { s.Fleet.Of.Watchdog.Scanned = ago(15*time.Minute + time.Second) }, Warning, "the watchdog has finished no scan for 15m01s; it does not find lost wake-ups"},
		{"a scan that is late, of seldom ones", func(s *Snapshot) {
			s.Fleet.Of.Watchdog = control.Watchdog{Scanned: ago(time.Hour), Every: time.Hour}
		}, "", ""},
		{"no scan ever", func(s *Snapshot) { s.Fleet.Of.Watchdog = control.Watchdog{} }, Warning, "the watchdog has finished no scan for 1d00h; it does not find lost wake-ups"},
		{"no scan yet", func(s *Snapshot) {
			s.Fleet.Of.Watchdog = control.Watchdog{}
			worker(s).Started, s.Fleet.Of.Workers[1].Started = now, now
		}, "", ""},
		{"a rollback", func(s *Snapshot) {
			s.Fleet.Of.Rollback, s.Fleet.Of.RolledBack = control.Rollback{Count: 1, Worker: "w1"}, ago(6*day)
		}, Warning, "NATS lost its last writes 6d00h ago, as worker w1 noticed"},
		{"an old rollback", func(s *Snapshot) {
			s.Fleet.Of.Rollback, s.Fleet.Of.RolledBack = control.Rollback{Count: 1, Worker: "w1"}, ago(8*day)
		}, "", ""},
		{"an old request", func(s *Snapshot) { s.Lanes.Of[0].Oldest = ago(31 * time.Minute) }, Warning, "a request in the lane issue has no result for 31m00s"},
		{"many requests", func(s *Snapshot) { s.Lanes.Of[0].Backlog = 1001 }, Warning, "1001 requests wait in the lane issue"},
		{"a letter of a kind that needs a look", func(s *Snapshot) { s.Letters.Of[1].Count = 1 }, Warning, "unconfirmed: 1 dead letter"},
		{"old letters", func(s *Snapshot) { s.Letters.Of[0].Oldest = ago(4 * day) }, Warning, "invalid: 3 dead letters, the oldest 4d00h old"},
		{"many letters", func(s *Snapshot) { s.Letters.Of[0].Fullness = 0.9 }, Warning, "invalid: a producer has used 90 % of its room for dead letters"},
		{"a stream that fills up", func(s *Snapshot) { s.Streams.Of[0].Fullness = 0.8 }, Warning, "the stream REQUESTS is 80 % full"},
		{"a full stream", func(s *Snapshot) { s.Streams.Of[0].Fullness = 0.995 }, Critical, "the stream REQUESTS is full and takes no message"},
		{"a replica", func(s *Snapshot) { s.Streams.Of[0].Behind = 1 }, Warning, "1 of the 3 replicas of REQUESTS are behind"},
		{"text of a gateway", func(s *Snapshot) { s.Fleet.Of.Breakers = []control.Breaker{{Operation: "poll", CA: "a\nb"}} }, Warning, "the breaker of poll at CA a b is open"},
	} {
		s := healthy()
		tc.change(&s)
		got := s.Problems(now)
		if worst := Worst(got); worst != tc.want {
			t.Errorf("%s: %q, want %q: %+v", tc.name, worst, tc.want, got)
			continue
		}
		if tc.want != "" && (got[0].Text != tc.text || got[0].Severity != tc.want) {
			t.Errorf("%s: the first is %+v, want %q", tc.name, got[0], tc.text)
		}
	}
	// Requests that wait for a known reason are not a problem of their own.
	s := healthy()
	s.Lanes.Of[0].Backlog, s.Fleet.Of.Pauses = 100_000, []control.PauseLeft{{Until: now.Add(time.Minute)}}
	if got := s.Problems(now); len(got) != 1 || !strings.Contains(got[0].Text, "pause") {
		t.Errorf("in a pause: %+v", got)
	}
	// Critical ones come first.
	s.Streams.Of[0].Fullness = 1
	if got := s.Problems(now); len(got) != 2 || !slices.IsSortedFunc(got, func(a, b Problem) int { return strings.Compare(string(a.Severity), string(b.Severity)) }) {
		t.Errorf("in which order: %+v", got)
	}
}
