package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// layoutFor is a layout with names and subjects of its own, so that many fit on one server.
func layoutFor(n int) Layout {
	l := DefaultLayout()
	l.RequestsMaxBytes = minRequestsBytes // a server reserves the limits, and its disk is finite
	l.Prefix = fmt.Sprintf("t%d", n)
	for _, name := range []*string{&l.Requests, &l.Parked, &l.Results, &l.Dead, &l.Orders, &l.Control, &l.Certs, &l.Keys, &l.Audit, &l.Incidents} {
		*name = fmt.Sprintf("T%d_%s", n, strings.TrimPrefix(*name, "ENTRUST_"))
	}
	return l
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestProvisionThenVerify(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	ctx := testContext(t)
	l := DefaultLayout()

	if err := Verify(ctx, js, l); err == nil {
		t.Error("an empty server passes")
	}
	plan, err := Plan(ctx, js, l)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range plan {
		names = append(names, c.Kind+" "+c.Name)
	}
	want := []string{
		"stream ENTRUST_REQUESTS", "stream ENTRUST_PARKED", "stream ENTRUST_RESULTS", "stream ENTRUST_DEAD",
		"bucket ENTRUST_ORDERS", "bucket ENTRUST_CONTROL", "bucket ENTRUST_CERTS", "bucket ENTRUST_KEYS", "bucket ENTRUST_INCIDENTS",
		"consumer ENTRUST_REQUESTS/worker-issue", "consumer ENTRUST_REQUESTS/worker-revoke",
		"consumer ENTRUST_REQUESTS/worker-manage", "consumer ENTRUST_PARKED/worker-poll", "consumer ENTRUST_PARKED/worker-resubmit",
		"consumer ENTRUST_PARKED/worker-revoke-again", "consumer ENTRUST_PARKED/worker-manage-again",
	}
	if !slices.Equal(names, want) {
		t.Errorf("plan is\n%q, want\n%q", names, want)
	}
	if err := Verify(ctx, js, l); err == nil {
		t.Error("planning created everything")
	}

	made, err := Provision(ctx, js, l)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(want) {
		t.Errorf("provisioning made %d objects, want %d", len(made), len(want))
	}
	found, err := Inspect(ctx, js, l)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("on freshly provisioned streams: %v", &f)
	}

	again, err := Provision(ctx, js, l)
	if err != nil || len(again) != 0 {
		t.Errorf("provisioning again made %v (%v), want nothing", again, err)
	}
}

func TestProvisionByManyAtOnce(t *testing.T) {
	t.Parallel()
	srv := testbed.Start(t)
	ctx := testContext(t)
	l := DefaultLayout()
	errs := make(chan error)
	for range 4 {
		js := srv.JetStream(t)
		go func() { _, err := Provision(ctx, js, l); errs <- err }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := Verify(ctx, srv.JetStream(t), l); err != nil {
		t.Error(err)
	}
}

func TestProvisionNeverAlters(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	ctx := testContext(t)
	l := DefaultLayout()
	cfg := l.streamConfigs()[0]
	cfg.MaxAge = time.Hour
	if _, err := js.CreateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := Provision(ctx, js, l); err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(ctx, l.Requests)
	if err != nil {
		t.Fatal(err)
	}
	if got := st.CachedInfo().Config.MaxAge; got != time.Hour {
		t.Errorf("max age became %v", got)
	}
}

// breakage is one change that an operator, or an infrastructure tool, may have made.
type breakage struct {
	name string
	// One of these changes an object before the rest is provisioned.
	stream   func(Layout) (string, func(*jetstream.StreamConfig))
	consumer func(Layout) (string, func(*jetstream.ConsumerConfig))
	// alone says that the server accepts no other consumer beside the changed one.
	alone bool
	// want is "object: setting" of each finding.
	want []string
}

func onStream(pick func(Layout) string, change func(*jetstream.StreamConfig)) func(Layout) (string, func(*jetstream.StreamConfig)) {
	return func(l Layout) (string, func(*jetstream.StreamConfig)) { return pick(l), change }
}

func onConsumer(name string, change func(*jetstream.ConsumerConfig)) func(Layout) (string, func(*jetstream.ConsumerConfig)) {
	return func(Layout) (string, func(*jetstream.ConsumerConfig)) { return name, change }
}

func requests(l Layout) string { return l.Requests }
func parked(l Layout) string   { return l.Parked }
func results(l Layout) string  { return l.Results }
func dead(l Layout) string     { return l.Dead }
func orders(l Layout) string   { return bucketStream(l.Orders) }
func control(l Layout) string  { return bucketStream(l.Control) }
func certs(l Layout) string    { return bucketStream(l.Certs) }
func keys(l Layout) string     { return bucketStream(l.Keys) }

func breakages() []breakage {
	type sc = jetstream.StreamConfig
	type cc = jetstream.ConsumerConfig
	return []breakage{
		// Requests.
		{name: "requests kept by limits", stream: onStream(requests, func(c *sc) { c.Retention = jetstream.LimitsPolicy }), want: []string{"requests: retention"}},
		{name: "requests kept by interest", stream: onStream(requests, func(c *sc) { c.Retention = jetstream.InterestPolicy }), want: []string{"requests: retention"}},
		{name: "requests discard old", stream: onStream(requests, func(c *sc) { c.Discard = jetstream.DiscardOld }), want: []string{"requests: discard"}},
		{name: "requests in memory", stream: onStream(requests, func(c *sc) { c.Storage = jetstream.MemoryStorage }), want: []string{"requests: storage"}},
		{name: "requests grow old", stream: onStream(requests, func(c *sc) { c.MaxAge = time.Hour }), want: []string{"requests: max age"}},
		{name: "requests limited per subject", stream: onStream(requests, func(c *sc) { c.MaxMsgsPerSubject = 1 }), want: []string{"requests: max messages per subject"}},
		{name: "requests roll up", stream: onStream(requests, func(c *sc) { c.AllowRollup = true }), want: []string{"requests: allow rollup"}},
		{name: "requests with a time to live", stream: onStream(requests, func(c *sc) { c.AllowMsgTTL = true }), want: []string{"requests: allow message ttl"}},
		{name: "requests without limit", stream: onStream(requests, func(c *sc) { c.MaxBytes = -1 }), want: []string{"requests: max bytes"}},
		{name: "requests limited by number", stream: onStream(requests, func(c *sc) { c.MaxBytes = -1; c.MaxMsgs = 1000 })}, // refuses new requests too
		{name: "requests with a short window", stream: onStream(requests, func(c *sc) { c.Duplicates = time.Minute }), want: []string{"requests: duplicate window"}},
		{name: "requests with a longer window", stream: onStream(requests, func(c *sc) { c.Duplicates = time.Hour })},
		{name: "requests without acks", stream: onStream(requests, func(c *sc) { c.NoAck = true }), want: []string{"requests: no ack"}},
		{name: "requests acknowledged before they are stored", stream: onStream(requests, func(c *sc) { c.PersistMode = jetstream.AsyncPersistMode }), want: []string{"requests: persist mode"}},
		{name: "requests of limited size", stream: onStream(requests, func(c *sc) { c.MaxMsgSize = 1 << 20 }), want: []string{"requests: max message size"}},
		{name: "requests of any kind", stream: onStream(requests, func(c *sc) { c.Subjects = []string{strings.Split(c.Subjects[0], ".")[0] + ".request.>"} }), want: []string{"requests: subjects"}},
		{name: "requests rewritten", stream: onStream(requests, func(c *sc) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: c.Subjects[0], Destination: "elsewhere.{{wildcard(1)}}"}
		}), want: []string{"requests: subject transform"}},

		{name: "requests without operators", stream: onStream(requests, func(c *sc) {
			c.Subjects = slices.DeleteFunc(c.Subjects, func(s string) bool { return strings.Contains(s, ".operator.") })
		}), want: []string{"requests: subjects"}},
		{name: "requests without one kind of an operator's", stream: onStream(requests, func(c *sc) { c.Subjects = c.Subjects[:len(c.Subjects)-1] }), want: []string{"requests: subjects"}},

		// Parked.
		{name: "parked without schedules", stream: onStream(parked, func(c *sc) { c.AllowMsgSchedules = false }), want: []string{"parked: allow message schedules"}},
		{name: "parked kept by limits", stream: onStream(parked, func(c *sc) { c.Retention = jetstream.LimitsPolicy }), want: []string{"parked: retention"}},
		{name: "parked kept by interest", stream: onStream(parked, func(c *sc) { c.Retention = jetstream.InterestPolicy }), want: []string{"parked: retention"}},
		{name: "parked limited by number", stream: onStream(parked, func(c *sc) { c.MaxMsgs = 1000 }), want: []string{"parked: max messages"}},
		{name: "parked limited by size", stream: onStream(parked, func(c *sc) { c.MaxBytes = 1 << 20 }), want: []string{"parked: max bytes"}},
		{name: "parked limited by age", stream: onStream(parked, func(c *sc) { c.MaxAge = time.Hour }), want: []string{"parked: max age"}},
		{name: "parked limited per subject", stream: onStream(parked, func(c *sc) { c.MaxMsgsPerSubject = 1 }), want: []string{"parked: max messages per subject"}},
		{name: "parked limited in message size", stream: onStream(parked, func(c *sc) { c.MaxMsgSize = 65536 }), want: []string{"parked: max message size"}},
		{name: "parked in memory", stream: onStream(parked, func(c *sc) { c.Storage = jetstream.MemoryStorage }), want: []string{"parked: storage"}},
		{name: "parked not direct", stream: onStream(parked, func(c *sc) { c.AllowDirect = false }), want: []string{"parked: allow direct"}},
		{name: "parked without wake-ups", stream: onStream(parked, func(c *sc) { c.Subjects = c.Subjects[1:] }), want: []string{"parked: subjects"}},

		// Results.
		{name: "results in a work queue", stream: onStream(results, func(c *sc) { c.Retention = jetstream.WorkQueuePolicy }), want: []string{"results: retention"}},
		{name: "results discard old", stream: onStream(results, func(c *sc) { c.Discard = jetstream.DiscardOld }), want: []string{"results: discard"}},
		{name: "results of limited size", stream: onStream(results, func(c *sc) { c.MaxBytes = 1 << 20 })}, // refused and repeated, not lost
		{name: "results for a day", stream: onStream(results, func(c *sc) { c.MaxAge = 24 * time.Hour }), want: []string{"results: max age"}},
		{name: "results with a short window", stream: onStream(results, func(c *sc) { c.Duplicates = time.Minute }), want: []string{"results: duplicate window"}},
		{name: "results roll up", stream: onStream(results, func(c *sc) { c.AllowRollup = true }), want: []string{"results: allow rollup"}},
		{name: "one result a subject", stream: onStream(results, func(c *sc) { c.MaxMsgsPerSubject = 1 }), want: []string{"results: max messages per subject"}},
		{name: "results not direct", stream: onStream(results, func(c *sc) { c.AllowDirect = false }), want: []string{"results: allow direct"}},

		// Dead letters.
		{name: "dead letters for a day", stream: onStream(dead, func(c *sc) { c.MaxAge = 24 * time.Hour }), want: []string{"dead: max age"}},
		{name: "dead letters with a short window", stream: onStream(dead, func(c *sc) { c.Duplicates = 2 * time.Minute }), want: []string{"dead: duplicate window"}},
		{name: "dead letters not direct", stream: onStream(dead, func(c *sc) { c.AllowDirect = false }), want: []string{"dead: allow direct"}},
		{name: "more dead letters a subject", stream: onStream(dead, func(c *sc) { c.MaxMsgsPerSubject *= 2 })},
		{name: "dead letters refused beyond a bound", stream: onStream(dead, func(c *sc) { c.DiscardNewPerSubject = true }), want: []string{"dead: discard new per subject"}},
		{name: "one dead letter a subject", stream: onStream(dead, func(c *sc) { c.MaxMsgsPerSubject = 1 }), want: []string{"dead: max messages per subject"}},
		{name: "dead letters discard old", stream: onStream(dead, func(c *sc) { c.Discard = jetstream.DiscardOld }), want: []string{"dead: discard"}},

		// Buckets.
		{name: "ledger forgets early", stream: onStream(orders, func(c *sc) { c.MaxAge = time.Hour }), want: []string{"orders: ttl"}},
		{name: "ledger with history", stream: onStream(orders, func(c *sc) { c.MaxMsgsPerSubject = 8 }), want: []string{"orders: history"}},
		{name: "ledger in memory", stream: onStream(orders, func(c *sc) { c.Storage = jetstream.MemoryStorage }), want: []string{"orders: storage"}},
		{name: "ledger not direct", stream: onStream(orders, func(c *sc) { c.AllowDirect = false }), want: []string{"orders: allow direct"}},
		{name: "ledger discards old", stream: onStream(orders, func(c *sc) { c.Discard = jetstream.DiscardOld }), want: []string{"orders: discard"}},
		{name: "control without key ttl", stream: onStream(control, func(c *sc) { c.AllowMsgTTL = false; c.SubjectDeleteMarkerTTL = 0 }), want: []string{"control: allow message ttl"}},
		{name: "control not direct", stream: onStream(control, func(c *sc) { c.AllowDirect = false })}, // then read key by key through the leader
		{name: "control forgets", stream: onStream(control, func(c *sc) { c.MaxAge = time.Hour }), want: []string{"control: ttl"}},
		{name: "certs forget", stream: onStream(certs, func(c *sc) { c.MaxAge = time.Hour }), want: []string{"certs: ttl"}},
		{name: "certs without key ttl", stream: onStream(certs, func(c *sc) { c.AllowMsgTTL = false; c.SubjectDeleteMarkerTTL = 0 }), want: []string{"certs: allow message ttl"}},
		{name: "keys forget", stream: onStream(keys, func(c *sc) { c.MaxAge = time.Hour }), want: []string{"keys: ttl"}},

		// Consumers.
		{name: "max deliver", consumer: onConsumer(ConsumerIssue, func(c *cc) { c.MaxDeliver = 5 }), want: []string{"worker-issue: max deliver"}},
		{name: "backoff", consumer: onConsumer(ConsumerPoll, func(c *cc) {
			c.MaxDeliver, c.BackOff = 3, []time.Duration{time.Minute, 2 * time.Minute}
		}), want: []string{"worker-poll: max deliver", "worker-poll: backoff"}},
		{name: "ack wait", consumer: onConsumer(ConsumerIssue, func(c *cc) { c.AckWait = 30 * time.Second }), want: []string{"worker-issue: ack wait"}},
		{name: "ack pending", consumer: onConsumer(ConsumerRevoke, func(c *cc) { c.MaxAckPending = 1 }), want: []string{"worker-revoke: max ack pending"}},
		{name: "more ack pending", consumer: onConsumer(ConsumerRevoke, func(c *cc) { c.MaxAckPending = 5000 })},
		{name: "ack pending unlimited", consumer: onConsumer(ConsumerRevoke, func(c *cc) { c.MaxAckPending = -1 })},
		{name: "filter of another lane", consumer: onConsumer(ConsumerManage, func(c *cc) { c.FilterSubjects = c.FilterSubjects[:1] }), want: []string{"worker-manage: filter"}},
		{name: "wake-ups delivered as due", consumer: onConsumer(ConsumerPoll, func(c *cc) { c.FilterSubject = "" }), alone: true,
			want: []string{"worker-poll: filter", "worker-resubmit: existence", "worker-revoke-again: existence", "worker-manage-again: existence"}},
		{name: "operators unheard", consumer: onConsumer(ConsumerIssue, func(c *cc) { c.FilterSubjects = c.FilterSubjects[:1] }), want: []string{"worker-issue: filter"}},
		{name: "due of another lane", consumer: onConsumer(ConsumerResubmit, func(c *cc) { c.FilterSubject = strings.Replace(c.FilterSubject, ".resubmit.", ".revoke.", 1) }), alone: true,
			want: []string{"worker-resubmit: filter", "worker-revoke-again: existence", "worker-manage-again: existence"}},
		{name: "due of every lane", consumer: onConsumer(ConsumerManageAgain, func(c *cc) { c.FilterSubject = strings.Replace(c.FilterSubject, ".manage.", ".*.", 1) }), alone: true,
			want: []string{"worker-poll: existence", "worker-resubmit: existence", "worker-revoke-again: existence", "worker-manage-again: filter"}},
		{name: "max deliver of a due lane", consumer: onConsumer(ConsumerRevokeAgain, func(c *cc) { c.MaxDeliver = 5 }), want: []string{"worker-revoke-again: max deliver"}},
		{name: "ack pending of a due lane", consumer: onConsumer(ConsumerManageAgain, func(c *cc) { c.MaxAckPending = 1 }), want: []string{"worker-manage-again: max ack pending"}},
		{name: "headers only", consumer: onConsumer(ConsumerIssue, func(c *cc) { c.HeadersOnly = true }), want: []string{"worker-issue: headers only"}},
		{name: "original pace", consumer: onConsumer(ConsumerIssue, func(c *cc) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy }), want: []string{"worker-issue: replay policy"}},
		{name: "deleted when idle", consumer: onConsumer(ConsumerIssue, func(c *cc) { c.InactiveThreshold = time.Hour }), want: []string{"worker-issue: inactive threshold"}},
		{name: "state in memory", consumer: onConsumer(ConsumerPoll, func(c *cc) { c.MemoryStorage = true }), want: []string{"worker-poll: memory storage"}},
		{name: "small pulls", consumer: onConsumer(ConsumerIssue, func(c *cc) { c.MaxRequestBatch = 1 }), want: []string{"worker-issue: max pull batch"}},
		{name: "short pulls", consumer: onConsumer(ConsumerIssue, func(c *cc) { c.MaxRequestExpires = time.Second }), want: []string{"worker-issue: max pull expire"}},
		{name: "narrow pulls", consumer: onConsumer(ConsumerIssue, func(c *cc) { c.MaxRequestMaxBytes = 100 }), want: []string{"worker-issue: max pull bytes"}},
		{name: "groups", consumer: onConsumer(ConsumerIssue, func(c *cc) {
			c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyOverflow, []string{"g"}
		}), want: []string{"worker-issue: priority groups"}},
	}
}

func TestVerifyNamesEveryBrokenSetting(t *testing.T) {
	t.Parallel()
	srv := testbed.Start(t)
	js := srv.JetStream(t)
	for n, b := range breakages() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			l := layoutFor(n)
			if b.stream != nil {
				name, change := b.stream(l)
				if _, err := js.CreateStream(ctx, changed(t, l, name, change)); err != nil {
					t.Fatal(err)
				}
			}
			if b.consumer != nil {
				makeConsumer(t, ctx, js, l, b)
			}
			if _, err := Provision(ctx, js, l); (err != nil) != b.alone {
				t.Fatalf("provisioning the rest: %v", err)
			}

			found, err := Inspect(ctx, js, l)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, short(l, f.Object)+": "+f.Setting)
				if f.Fix == "" || f.Why == "" || f.Got == "" || f.Want == "" || f.Got == f.Want {
					t.Errorf("incomplete finding: %+v", f)
				}
				if msg := f.Error(); !strings.Contains(msg, f.Setting) || !strings.Contains(msg, f.Got) || !strings.Contains(msg, f.Want) {
					t.Errorf("%q lacks the setting or one of the values", msg)
				}
			}
			if !slices.Equal(got, b.want) {
				t.Errorf("found %q, want %q", got, b.want)
			}
			if err := Verify(ctx, js, l); (err == nil) != (len(b.want) == 0) {
				t.Errorf("Verify says %v", err)
			}
		})
	}
}

// A worker runs with a dead-letter stream without a bound, as earlier versions created it, and
// reports that.
func TestVerifyNotesUnboundedDeadLetters(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	ctx, l := testContext(t), DefaultLayout()
	cfg := changed(t, l, l.Dead, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = -1 })
	if _, err := js.CreateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := Provision(ctx, js, l); err != nil {
		t.Fatal(err)
	}
	found, err := Inspect(ctx, js, l)
	if err != nil || len(found) != 1 || !found[0].Note || found[0].Setting != "max messages per subject" ||
		found[0].Fix != "nats stream edit ENTRUST_DEAD --max-msgs-per-subject=100000" {
		t.Errorf("found %+v (%v)", found, err)
	}
	if err := Verify(ctx, js, l); err != nil {
		t.Error(err)
	}
}

// The size limit of a message is checked at start: too small is refused, small is noted.
func TestVerifyMaxPayload(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		limit    int
		ok, note bool
	}{{MinPayload - 1, false, false}, {MinPayload, true, true}, {WantPayload - 1, true, true}, {WantPayload, true, false}} {
		t.Run(fmt.Sprint(row.limit), func(t *testing.T) {
			t.Parallel()
			js := testbed.Start(t, fmt.Sprintf("max_payload: %d", row.limit)).JetStream(t)
			ctx, l := testContext(t), DefaultLayout()
			if _, err := Provision(ctx, js, l); err != nil {
				t.Fatal(err)
			}
			found, err := Inspect(ctx, js, l)
			if err != nil || len(found) > 1 || (len(found) == 0) != (row.ok && !row.note) ||
				len(found) == 1 && (found[0].Note != row.note || found[0].Setting != "max_payload" || found[0].Fix == "") {
				t.Errorf("found %+v (%v)", found, err)
			}
			if err := Verify(ctx, js, l); (err == nil) != row.ok || err != nil && !strings.Contains(err.Error(), "max_payload must be at least 65536, is 65535") {
				t.Errorf("Verify says %v", err)
			}
		})
	}
}

// changed is Provision's configuration of a stream, or of the stream below a bucket, with a
// change.
func changed(t *testing.T, l Layout, name string, change func(*jetstream.StreamConfig)) jetstream.StreamConfig {
	t.Helper()
	all := l.streamConfigs()
	for _, b := range l.bucketConfigs() {
		all = append(all, jetstream.StreamConfig{
			Name: bucketStream(b.Bucket), Subjects: []string{"$KV." + b.Bucket + ".>"},
			MaxMsgsPerSubject: 1, MaxAge: b.TTL, Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, AllowDirect: true,
			Replicas: 1, AllowMsgTTL: b.LimitMarkerTTL > 0, SubjectDeleteMarkerTTL: b.LimitMarkerTTL,
		})
	}
	for _, cfg := range all {
		if cfg.Name == name {
			if change(&cfg); cfg.Name == l.Parked && !cfg.AllowMsgSchedules {
				cfg.AllowRollup = false
			}
			return cfg
		}
	}
	t.Fatalf("no stream %q in the layout", name)
	return jetstream.StreamConfig{}
}

func makeConsumer(t *testing.T, ctx context.Context, js jetstream.JetStream, l Layout, b breakage) {
	t.Helper()
	name, change := b.consumer(l)
	for _, lane := range l.lanes() {
		if lane.config.Durable != name {
			continue
		}
		for _, cfg := range l.streamConfigs() {
			if cfg.Name == lane.stream {
				if _, err := js.CreateStream(ctx, cfg); err != nil {
					t.Fatal(err)
				}
			}
		}
		change(&lane.config)
		if _, err := js.CreateConsumer(ctx, lane.stream, lane.config); err != nil {
			t.Fatal(err)
		}
	}
}

// short turns an object's name into the word the table uses.
func short(l Layout, object string) string {
	switch object {
	case "stream " + l.Requests:
		return "requests"
	case "stream " + l.Parked:
		return "parked"
	case "stream " + l.Results:
		return "results"
	case "stream " + l.Dead:
		return "dead"
	case "bucket " + l.Orders:
		return "orders"
	case "bucket " + l.Control:
		return "control"
	case "bucket " + l.Certs:
		return "certs"
	case "bucket " + l.Keys:
		return "keys"
	}
	return strings.Fields(object)[1]
}

func TestVerifyRefusesPushConsumersAndOtherConsumers(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	ctx := testContext(t)
	l := DefaultLayout()
	for _, cfg := range l.streamConfigs() {
		if _, err := js.CreateStream(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.CreatePushConsumer(ctx, l.Requests, jetstream.ConsumerConfig{
		Durable: ConsumerRevoke, DeliverSubject: "pushed", AckPolicy: jetstream.AckExplicitPolicy,
		FilterSubject: l.Subjects().RequestFilter("revoke"), AckWait: l.AckWait, MaxAckPending: l.RevokePending,
	}); err != nil {
		t.Fatal(err)
	}
	// It would receive each wake-up at once, and its ack would cancel the schedule.
	if _, err := js.CreateConsumer(ctx, l.Parked, jetstream.ConsumerConfig{Durable: "curious", FilterSubject: l.Subjects().ParkedFilter()}); err != nil {
		t.Fatal(err)
	}
	if _, err := Provision(ctx, js, l); err != nil {
		t.Fatal(err)
	}
	err := Verify(ctx, js, l)
	for _, want := range []string{
		"consumer worker-revoke of stream ENTRUST_REQUESTS: delivery must be pull, is push",
		"stream ENTRUST_PARKED: consumers must be the worker's alone, is curious",
		"nats consumer rm ENTRUST_PARKED curious",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant it to contain\n%s", err, want)
		}
	}
	var f *Finding
	if !errors.As(err, &f) {
		t.Error("no *Finding in the error")
	}
}

func TestReplicasAreANote(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	ctx := testContext(t)
	l := DefaultLayout()
	if _, err := Provision(ctx, js, l); err != nil {
		t.Fatal(err)
	}
	l.Replicas = 3
	if err := Verify(ctx, js, l); err != nil {
		t.Errorf("fewer replicas than configured stop the worker: %v", err)
	}
	found, err := Inspect(ctx, js, l)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 8 {
		t.Errorf("%d notes, want one for each stream and bucket: %v", len(found), found)
	}
	for _, f := range found {
		if !f.Note || f.Setting != "replicas" {
			t.Errorf("unexpected: %v", &f)
		}
	}
}

func TestInspectSaysWhyItCannotLook(t *testing.T) {
	t.Parallel()
	srv := testbed.Start(t)
	js := srv.JetStream(t)
	srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := Inspect(ctx, js, DefaultLayout())
	if err == nil || !strings.Contains(err.Error(), "reading stream ENTRUST_REQUESTS") {
		t.Errorf("got %v, want it to name what could not be read", err)
	}
	if f := (*Finding)(nil); errors.As(err, &f) {
		t.Error("an unreachable server is told as a wrong setting")
	}
}

func TestProvisionOnACluster(t *testing.T) {
	t.Parallel()
	js := testbed.StartCluster(t, 3).JetStream(t)
	ctx := testContext(t)
	l := DefaultLayout()
	l.Replicas = 3
	if _, err := Provision(ctx, js, l); err != nil {
		t.Fatal(err)
	}
	found, err := Inspect(ctx, js, l)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("on freshly provisioned streams: %v", &f)
	}
	for _, lane := range l.lanes() {
		c, err := js.Consumer(ctx, lane.stream, lane.config.Durable)
		if err != nil {
			t.Fatal(err)
		}
		if info := c.CachedInfo(); info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			t.Errorf("consumer %s is not kept on three servers: %+v", lane.config.Durable, info.Cluster)
		}
	}
}
