//go:build browser

package statuspage

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// hostile is a text that a label, a name or a message of a gateway may contain.
const hostile = `<script>window.hacked=true</script><img src=x onerror="window.hacked=true">"'&amp;`

// madeUpFleet is a fleet in trouble. It is safe for concurrent use.
type madeUpFleet struct {
	// message is the gateway's answer.
	message string
	// calm says that only the gateway has a problem.
	calm bool

	mu     sync.Mutex
	parked uint64
	gone   bool
	last   time.Time
}

func (f *madeUpFleet) park(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parked = n
}

// away makes NATS unreachable, or reachable again.
func (f *madeUpFleet) away(gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = gone
}

func (f *madeUpFleet) Read(context.Context) snapshot.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if !f.gone {
		f.last = now
	}
	problem := ""
	if f.gone {
		problem = "not connected to NATS"
	}
	s := snapshot.Snapshot{
		At:   now,
		NATS: snapshot.NATS{Connected: !f.gone, URL: "nats://nats-1.example:4222", Version: "2.15.2", Answered: f.last, RTT: time.Millisecond, Skew: 3 * time.Millisecond, Problem: problem},
		Fleet: part(f.last, problem, control.State{
			Workers: []control.Presence{
				{Worker: "worker-1", Seen: now.Add(-2 * time.Second), Started: now.Add(-49 * time.Hour), About: control.About{Version: "v1.2.3", CertificateEnd: now.Add(9 * 24 * time.Hour), SkewKnown: true, Skew: 3 * time.Millisecond}},
				{Worker: "worker-2", Seen: now.Add(-time.Second), Started: now.Add(-3 * time.Hour), About: control.About{Version: "v1.2.3", CertificateEnd: now.Add(9 * 24 * time.Hour), GatewayProblem: "enroll at issuing-1: " + f.message}},
				{Worker: "worker-3", Seen: now.Add(-40 * time.Second), Silent: true},
			},
			Breakers:    []control.Breaker{{Operation: "enroll", CA: "issuing-1", Since: now.Add(-12 * time.Minute), Next: now.Add(48 * time.Second), Canaries: 7, Cause: "503: " + f.message, Worker: "worker-2", Producer: "shop"}},
			Suspensions: []control.Suspension{{Scope: control.Scope{Producer: "legacy"}, Reason: "moves to another CA", Operator: "ops", Since: now.Add(-26 * time.Hour)}},
			Pauses:      []control.PauseLeft{{Until: now.Add(35 * time.Second), Worker: "worker-1"}},
			Watchdog: control.Watchdog{Counted: now.Add(-90 * time.Second), Scanned: now.Add(-90 * time.Second), ScannedAll: now.Add(-7 * time.Hour), OldestSince: now.Add(-51 * time.Hour), NextDue: now.Add(2 * time.Second),
				Waiting: control.Waiting{Awaiting: 1201, Unaccepted: 37, Indeterminate: 2}},
		}),
		Lanes: part(f.last, problem, []snapshot.Lane{
			{Name: "issue", InFlight: 64, Backlog: 812, Oldest: now.Add(-11 * time.Minute)}, {Name: "revoke", InFlight: 1}, {Name: "manage"},
			{Name: "poll", InFlight: 3, Backlog: 12, Oldest: now.Add(-2 * time.Second)}, {Name: "resubmit", Backlog: 37, Oldest: now.Add(-11 * time.Minute)}, {Name: "revoke-again"}, {Name: "manage-again"},
		}),
		Parked:  part(f.last, problem, snapshot.Parked{Orders: max(f.parked, 1240)}),
		Letters: part(f.last, problem, []snapshot.Letters{{Reason: order.Reasons()[0], Count: 12, Oldest: now.Add(-5 * 24 * time.Hour), Fullness: 0.001}, {Reason: order.Reasons()[1], Count: 3, Oldest: now.Add(-9 * time.Hour)}}),
		Streams: part(f.last, problem, []snapshot.Stream{
			{Name: "ENTRUST_REQUESTS", Messages: 877, Bytes: 930 << 20, MaxBytes: 1 << 30, Fullness: 0.91, Replicas: 3, Sequence: 120000},
			{Name: "ENTRUST_PARKED", Messages: 1240, Bytes: 2 << 20, Replicas: 3, Behind: 1},
			{Name: "ENTRUST_RESULTS", Messages: 118000, Bytes: 400 << 20, Replicas: 3, Sequence: 118000},
			{Name: "ENTRUST_DEAD", Messages: 15, Bytes: 80 << 10, Replicas: 3, Sequence: 40},
			{Name: "KV_ENTRUST_ORDERS", Messages: 119000, Bytes: 150 << 20, Replicas: 3},
		}),
	}
	if f.calm {
		fleet := &s.Fleet.Of
		fleet.Workers, fleet.Suspensions, fleet.Pauses = fleet.Workers[:2], nil, nil
		for i := range fleet.Workers {
			fleet.Workers[i].CertificateEnd, fleet.Workers[i].GatewayProblem = now.Add(211*24*time.Hour), ""
		}
		s.Letters.Of = s.Letters.Of[1:]
		s.Streams.Of[0].Fullness, s.Streams.Of[1].Behind = 0.08, 0
	}
	return s
}

func part[T any](at time.Time, problem string, of T) snapshot.Part[T] {
	return snapshot.Part[T]{At: at, Problem: problem, Of: of}
}

type madeUpResults struct{}

func (madeUpResults) Read(context.Context) (Producers, error) {
	now := time.Now()
	return Producers{Results: 2000, Since: now.Add(-19 * time.Minute), List: []Producer{
		{Name: "shop", Results: 1400, Failed: 31, Last: now.Add(-time.Second)}, {Name: "mail", Results: 580, Failed: 2, Last: now.Add(-8 * time.Second)}, {Name: "lab", Results: 20, Last: now.Add(-4 * time.Minute)},
	}}, nil
}

// madeUpHistory is an hour in which a gateway went away.
func madeUpHistory(now time.Time) (all []sample) {
	var results, letters uint64
	backlog := 4.0
	for at := now.Add(-historyFor + time.Minute); at.Before(now); at = at.Add(sampleEvery) {
		wave := math.Sin(float64(at.Unix()) / 300)
		rate := 26 + 8*wave
		if now.Sub(at) < 12*time.Minute {
			rate, letters = 2, letters+uint64(at.Unix()/15%9/8)
			backlog += 16
		}
		results += uint64(rate)
		all = append(all, sample{at: at, results: results, letters: letters, backlog: backlog + 2*wave, inFlight: 30 + 20*wave, parked: 1100 + 140*(1-now.Sub(at).Hours())})
	}
	return all
}

// madeUpOrders has one order in trouble.
type madeUpOrders struct{}

func (*madeUpOrders) Newest(context.Context, find.Query, int, time.Duration) (*find.Found, error) {
	found := &find.Found{Since: time.Now().Add(-30 * time.Hour)}
	for i, names := range [][]string{{"dns:www.shop.example"}, {"dns:" + hostile}, {"dns:a.shop.example", "dns:b.shop.example", "dns:c.shop.example", "dns:d.shop.example"}} {
		f := story().Facts
		f.ID, f.Names = "order-"+string(rune('1'+i)), names
		if i == 2 {
			f.Trouble, f.Outcome, f.Phase = "", entrustbus.OutcomeIssued, order.Closed
		}
		found.Orders = append(found.Orders, &f)
	}
	return found, nil
}

func (*madeUpOrders) Read(context.Context, order.Key) (*timeline.Story, error) { return story(), nil }

func story() *timeline.Story {
	now := time.Now()
	return &timeline.Story{
		Facts: timeline.Facts{
			Producer: "shop", ID: "order-1", Kind: entrustbus.KindIssue, Phase: order.Unaccepted, Trouble: "not accepted several times in a row",
			Waits:     "The breaker of enroll at issuing-1 is open for 12 minutes; the next canary follows in 48 s.",
			Requested: now.Add(-11 * time.Minute), Updated: now.Add(-time.Minute), Submissions: 3, Tries: 3, CAID: "issuing-1", ProfileID: "tls-server",
			Cause: "503: " + hostile, Names: []string{"dns:www.shop.example"}, Subject: "CN=www.shop.example", Labels: map[string]string{"owner": hostile, "stage": "production"},
		},
		Entries: []timeline.Entry{
			{Time: now.Add(-11 * time.Minute), What: timeline.Received, Detail: "issue", Source: timeline.FromRequest},
			{Time: now.Add(-10 * time.Minute), What: timeline.Submitted, Detail: "for the first time, to issuing-1", Source: timeline.FromLedger},
			{Time: now.Add(-10 * time.Minute), What: timeline.Refused, Detail: "503: " + hostile, Source: timeline.FromLedger},
			{Time: now.Add(-time.Minute), What: timeline.Deferred, Detail: "until the breaker lets it through", Source: timeline.FromWakeup},
		},
		Notes: []string{"The audit trail is off, so that earlier tries are not listed."},
	}
}
