package streams

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Every subject of a request or a due message belongs to one consumer, which has the name of
// its lane. The subject of a wake-up belongs to none.
func TestEachSubjectHasOneConsumer(t *testing.T) {
	t.Parallel()
	l := DefaultLayout()
	s := l.Subjects()
	want := map[string]string{s.Parked("shop", "a"): ""}
	for kind, consumer := range map[entrustbus.Kind]string{
		entrustbus.KindIssue: ConsumerIssue, entrustbus.KindRevoke: ConsumerRevoke, entrustbus.KindTrack: ConsumerManage, entrustbus.KindCancel: ConsumerManage,
	} {
		if got := RequestConsumer(kind); got != consumer {
			t.Errorf("requests of kind %s go to %s, want %s", kind, got, consumer)
		}
		want[s.Request("shop", kind)], want[s.Operator("shop", kind)] = consumer, consumer
	}
	for _, lane := range []string{DuePoll, DueResubmit, DueRevoke, DueManage} {
		want[s.Due(lane, "shop", "a")] = DueConsumer(lane)
	}
	matches := func(filter, subject string) bool {
		return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(filter), `\*`, "[^.]+") + "$").MatchString(subject)
	}
	consumers := map[string]bool{}
	for subject, consumer := range want {
		var got []string
		for _, lane := range l.lanes() {
			consumers[lane.config.Durable] = true
			for _, filter := range filters(lane.config) {
				if matches(filter, subject) {
					got = append(got, lane.config.Durable)
				}
			}
		}
		if strings.Join(got, " ") != consumer {
			t.Errorf("%s goes to %q, want %q", subject, got, consumer)
		}
		stored := 0
		for _, st := range l.streamConfigs() {
			for _, filter := range st.Subjects {
				if matches(filter, subject) {
					stored++
				}
			}
		}
		if stored != 1 {
			t.Errorf("%s is stored %d times", subject, stored)
		}
	}
	if len(consumers) != 7 {
		t.Errorf("%d consumers, want 7", len(consumers))
	}
}

// A lane of due messages has the bound of the lane of its requests.
func TestPendingOfLanes(t *testing.T) {
	t.Parallel()
	l := DefaultLayout()
	l.IssuePending, l.RevokePending, l.ManagePending, l.DuePending = 1, 2, 3, 4
	want := map[string]int{
		ConsumerIssue: 1, ConsumerRevoke: 2, ConsumerManage: 3, ConsumerPoll: 4, ConsumerResubmit: 4, ConsumerRevokeAgain: 2, ConsumerManageAgain: 3,
	}
	for _, lane := range l.lanes() {
		c := lane.config
		if c.MaxAckPending != want[c.Durable] || c.MaxDeliver != -1 || c.AckWait != l.AckWait || c.AckPolicy != jetstream.AckExplicitPolicy {
			t.Errorf("%s has %d pending, %d deliveries, ack wait %s and policy %s", c.Durable, c.MaxAckPending, c.MaxDeliver, c.AckWait, c.AckPolicy)
		}
	}
}

func TestDefaultLayoutIsValid(t *testing.T) {
	t.Parallel()
	if err := DefaultLayout().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesBothValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*Layout)
		want   string
	}{
		{"empty prefix", func(l *Layout) { l.Prefix = "" }, `prefix must be subject tokens of letters, digits, _ and -: ""`},
		{"wildcard in prefix", func(l *Layout) { l.Prefix = "a.*" }, `"a.*"`},
		{"prefix ends in a dot", func(l *Layout) { l.Prefix = "a." }, `"a."`},
		{"dot in a stream name", func(l *Layout) { l.Dead = "A.B" }, `dead stream must be 1 to 64 letters, digits, _ and -: "A.B"`},
		{"empty bucket name", func(l *Layout) { l.Orders = "" }, "orders bucket must be 1 to 64"},
		{"two streams of one name", func(l *Layout) { l.Dead = l.Results }, `results stream and dead stream must differ: both are stream "ENTRUST_RESULTS"`},
		{"a stream named as a bucket's", func(l *Layout) { l.Dead = "KV_" + l.Orders }, `dead stream and orders bucket must differ: both are stream "KV_ENTRUST_ORDERS"`},
		{"no replica", func(l *Layout) { l.Replicas = 0 }, "replicas must be 1 to 5: 0"},
		{"too many replicas", func(l *Layout) { l.Replicas = 6 }, "replicas must be 1 to 5: 6"},
		{"no room for requests", func(l *Layout) { l.RequestsMaxBytes = 0 }, "requests max bytes must be at least 1048576: 0"},
		{"ack wait too short", func(l *Layout) { l.AckWait = 999 * time.Millisecond }, "ack wait must be at least 1s: 999ms"},
		{"ack wait too long", func(l *Layout) { l.AckWait = 2 * time.Hour }, "ack wait must be at most 1h0m0s: 2h0m0s"},
		{"no duplicate window", func(l *Layout) { l.RequestsDuplicates = 0 }, "requests duplicates must be at least 100ms: 0s"},
		{"window longer than age", func(l *Layout) { l.ResultsMaxAge = time.Minute }, "results duplicates must not exceed results max age: 15m0s !<= 1m0s"},
		{"ledger shorter than results", func(l *Layout) { l.OrdersMaxAge = time.Hour }, "orders max age must not be below results max age: 1h0m0s !>= 720h0m0s"},
		{"ledger shorter than the request window", func(l *Layout) { l.RequestsDuplicates = 1000 * time.Hour }, "orders max age must not be below requests duplicates: 720h0m0s !>= 1000h0m0s"},
		{"manage lane without room", func(l *Layout) { l.ManagePending = -1 }, "manage pending must be at least 1: -1"},
		{"lane without room", func(l *Layout) { l.DuePending = 0 }, "due pending must be at least 1: 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := DefaultLayout()
			tc.change(&l)
			err := l.Validate()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to contain %q", err, tc.want)
			}
		})
	}
}

func TestValidateTellsAllAtOnce(t *testing.T) {
	t.Parallel()
	l := DefaultLayout()
	l.Prefix, l.Replicas = "", 9
	err := l.Validate()
	if err == nil || !strings.Contains(err.Error(), "prefix") || !strings.Contains(err.Error(), "replicas") {
		t.Errorf("got %v, want both prefix and replicas in it", err)
	}
}

func TestServerVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"2.14.0":        true,
		"2.14.1":        true,
		"2.15.2":        true,
		"3.0.0":         true,
		"v2.14.0":       true,
		"2.15.0-beta.1": true,
		"2.15.2+build":  true,
		"2.13.9":        false, // one before
		"2.9.25":        false, // compared as numbers, not as text
		"1.99.0":        false,
		"":              false,
		"latest":        false,
	} {
		c := &checker{}
		c.server(version)
		if got := len(c.found) == 0; got != want {
			t.Errorf("server %q accepted: %v, want %v", version, got, want)
		}
		for _, f := range c.found {
			if !strings.Contains(f.Error(), "2.14.0") {
				t.Errorf("%q does not name the version that is needed", f.Error())
			}
		}
	}
}
