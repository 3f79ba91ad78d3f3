// Package streams knows the JetStream side of the worker: which streams, buckets
// and consumers there are, how each must be set up so that the worker's invariants
// hold, how to create what is missing, and how to tell what is wrong with what is
// there. It never changes anything that exists.
package streams

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// The durable consumers. Requests come from the request stream, due messages of waiting
// orders from the parking stream; each lane has a consumer of its own so that a backlog
// of one never delays another.
const (
	ConsumerIssue       = "worker-issue"
	ConsumerRevoke      = "worker-revoke"
	ConsumerManage      = "worker-manage" // track, cancel, complete and resolve
	ConsumerPoll        = "worker-poll"
	ConsumerResubmit    = "worker-resubmit"
	ConsumerRevokeAgain = "worker-revoke-again"
	ConsumerManageAgain = "worker-manage-again"
)

// The lanes of due messages: a token of their subject.
const (
	DuePoll     = "poll"
	DueResubmit = "resubmit"
	DueRevoke   = "revoke"
	DueManage   = "manage"
)

// DueConsumer is the consumer of a lane of due messages.
func DueConsumer(lane string) string {
	switch lane {
	case DuePoll:
		return ConsumerPoll
	case DueRevoke:
		return ConsumerRevokeAgain
	case DueManage:
		return ConsumerManageAgain
	}
	return ConsumerResubmit
}

// RequestConsumer is the consumer of the requests of a kind.
func RequestConsumer(kind entrustbus.Kind) string {
	switch kind {
	case entrustbus.KindIssue:
		return ConsumerIssue
	case entrustbus.KindRevoke:
		return ConsumerRevoke
	}
	return ConsumerManage
}

// Layout names the streams and buckets and holds what is configurable about them.
// The zero value is not usable; start from DefaultLayout. A Layout is a plain value.
type Layout struct {
	// Prefix is the first part of every subject. One or more subject tokens.
	Prefix string

	// Names of the streams.
	Requests, Parked, Results, Dead string
	// Events is the stream of certificate events. Empty: there is none.
	Events string
	// Audit is the name of the stream of the audit trail. Audited says that there is one.
	Audit   string
	Audited bool
	// Names of the key-value buckets: the ledger, what workers tell each other, and mass
	// revocations, which verbs alone need.
	Orders, Control, Incidents string
	// Names of the buckets that a policy rests on: whose a certificate is, and which keys
	// are refused.
	Certs, Keys string

	// Replicas of everything, 1 to 5. Existing streams may have more or fewer;
	// Inspect only notes it.
	Replicas int

	// RequestsMaxBytes is the size at which the request stream refuses new
	// requests. At least 1 MiB.
	RequestsMaxBytes int64
	// RequestsDuplicates is how long the server itself recognises a request that
	// is published twice. Longer than that, the ledger does.
	RequestsDuplicates time.Duration
	// ResultsDuplicates is the same for results and dead letters. It must cover the
	// time between two attempts to publish one, and not exceed ResultsMaxAge.
	ResultsDuplicates time.Duration
	// ResultsMaxAge is how long results can be read.
	ResultsMaxAge time.Duration
	// EventsMaxAge is how long certificate events are kept.
	EventsMaxAge time.Duration
	// DeadMaxAge is how long dead letters are kept.
	DeadMaxAge time.Duration
	// DeadPerReason is how many dead letters of one producer and reason are kept: of one
	// more, the oldest of them goes. At least 1.
	DeadPerReason int64
	// AuditMaxAge and AuditMaxBytes bound the audit trail. Full, it takes no record, and
	// the lanes stop: at least 1 MiB.
	AuditMaxAge   time.Duration
	AuditMaxBytes int64
	// OrdersMaxAge is how long a ledger record outlives its last change: for so
	// long the same id never enrolls again. Not below ResultsMaxAge.
	OrdersMaxAge time.Duration

	// AckWait is how long the server waits for a sign of life before it hands a
	// message to another worker. 1 s to 1 h.
	AckWait time.Duration
	// The most messages in flight over all workers, per lane. At least 1. A due lane has
	// that of its kind; DuePending is that of polls, and of submissions made again.
	IssuePending, RevokePending, ManagePending, DuePending int
}

// DefaultLayout is the layout the documentation describes.
func DefaultLayout() Layout {
	const day = 24 * time.Hour
	return Layout{
		Prefix:             "entrust",
		Requests:           "ENTRUST_REQUESTS",
		Parked:             "ENTRUST_PARKED",
		Results:            "ENTRUST_RESULTS",
		Dead:               "ENTRUST_DEAD",
		Orders:             "ENTRUST_ORDERS",
		Control:            "ENTRUST_CONTROL",
		Certs:              "ENTRUST_CERTS",
		Keys:               "ENTRUST_KEYS",
		Audit:              "ENTRUST_AUDIT",
		Incidents:          "ENTRUST_INCIDENTS",
		Replicas:           1,
		RequestsMaxBytes:   1 << 30,
		RequestsDuplicates: 10 * time.Minute,
		ResultsDuplicates:  15 * time.Minute,
		ResultsMaxAge:      30 * day,
		DeadMaxAge:         90 * day,
		EventsMaxAge:       90 * day,
		DeadPerReason:      100_000,
		AuditMaxAge:        365 * day,
		AuditMaxBytes:      4 << 30,
		OrdersMaxAge:       30 * day,
		AckWait:            time.Minute,
		IssuePending:       4096,
		RevokePending:      1024,
		ManagePending:      1024,
		DuePending:         4096,
	}
}

var (
	// Stream names may hold more; a bucket's name may not, and one rule is easier.
	nameRule   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	prefixRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64})*$`)
)

const minRequestsBytes = 1 << 20

// Validate checks the values and the relations among them, and joins all it finds.
// Each message holds the values that disagree.
func (l Layout) Validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !prefixRule.MatchString(l.Prefix) {
		refuse("prefix must be subject tokens of letters, digits, _ and -: %q", l.Prefix)
	}
	seen := map[string]string{}
	for _, n := range []struct{ what, name, stream string }{
		{"requests stream", l.Requests, l.Requests},
		{"parked stream", l.Parked, l.Parked},
		{"results stream", l.Results, l.Results},
		{"dead stream", l.Dead, l.Dead},
		{"events stream", l.Events, l.Events},
		{"audit stream", l.Audit, l.Audit},
		{"orders bucket", l.Orders, bucketStream(l.Orders)},
		{"control bucket", l.Control, bucketStream(l.Control)},
		{"certs bucket", l.Certs, bucketStream(l.Certs)},
		{"keys bucket", l.Keys, bucketStream(l.Keys)},
		{"incidents bucket", l.Incidents, bucketStream(l.Incidents)},
	} {
		if n.name == "" && n.what == "events stream" {
			continue
		}
		if !nameRule.MatchString(n.name) {
			refuse("%s must be 1 to 64 letters, digits, _ and -: %q", n.what, n.name)
		}
		if other, taken := seen[n.stream]; taken {
			refuse("%s and %s must differ: both are stream %q", other, n.what, n.stream)
		}
		seen[n.stream] = n.what
	}
	if l.Replicas < 1 || l.Replicas > 5 {
		refuse("replicas must be 1 to 5: %d", l.Replicas)
	}
	if l.RequestsMaxBytes < minRequestsBytes {
		refuse("requests max bytes must be at least %d: %d", minRequestsBytes, l.RequestsMaxBytes)
	}
	if l.Audited && l.AuditMaxBytes < minRequestsBytes {
		refuse("audit max bytes must be at least %d: %d", minRequestsBytes, l.AuditMaxBytes)
	}
	if l.Audited && l.AuditMaxAge < time.Second {
		refuse("audit max age must be at least %v: %v", time.Second, l.AuditMaxAge)
	}
	if l.DeadPerReason < 1 {
		refuse("dead letters per producer and reason must be at least 1: %d", l.DeadPerReason)
	}
	for _, d := range []struct {
		what     string
		got, min time.Duration
	}{
		// The server's own shortest duplicate window and age.
		{"requests duplicates", l.RequestsDuplicates, 100 * time.Millisecond},
		{"results duplicates", l.ResultsDuplicates, 100 * time.Millisecond},
		{"results max age", l.ResultsMaxAge, time.Second},
		{"dead max age", l.DeadMaxAge, time.Second},
		{"events max age", l.EventsMaxAge, time.Second},
		{"orders max age", l.OrdersMaxAge, time.Second},
		{"ack wait", l.AckWait, time.Second},
	} {
		if d.got < d.min {
			refuse("%s must be at least %v: %v", d.what, d.min, d.got)
		}
	}
	if l.AckWait > time.Hour {
		refuse("ack wait must be at most %v: %v", time.Hour, l.AckWait)
	}
	if l.ResultsDuplicates > l.ResultsMaxAge {
		refuse("results duplicates must not exceed results max age: %v !<= %v", l.ResultsDuplicates, l.ResultsMaxAge)
	}
	if l.OrdersMaxAge < l.ResultsMaxAge {
		refuse("orders max age must not be below results max age: %v !>= %v", l.OrdersMaxAge, l.ResultsMaxAge)
	}
	if l.OrdersMaxAge < l.RequestsDuplicates {
		refuse("orders max age must not be below requests duplicates: %v !>= %v", l.OrdersMaxAge, l.RequestsDuplicates)
	}
	for _, p := range []struct {
		what string
		got  int
	}{
		{"issue pending", l.IssuePending}, {"revoke pending", l.RevokePending},
		{"manage pending", l.ManagePending}, {"due pending", l.DuePending},
	} {
		if p.got < 1 {
			refuse("%s must be at least 1: %d", p.what, p.got)
		}
	}
	return errors.Join(errs...)
}

// Subjects are the subjects of this layout.
func (l Layout) Subjects() entrustbus.Subjects { return entrustbus.Subjects{Prefix: l.Prefix} }

// Objects counts the streams, buckets and consumers of this layout.
func (l Layout) Objects() (streams, buckets, consumers int) {
	return len(l.streamConfigs()), len(l.bucketConfigs()), len(l.lanes())
}

// bucketStream is the stream that holds a key-value bucket.
func bucketStream(bucket string) string { return "KV_" + bucket }

// Names returns the names of the streams of this layout, those of its buckets last.
func (l Layout) Names() []string {
	var names []string
	for _, c := range l.streamConfigs() {
		names = append(names, c.Name)
	}
	for _, c := range l.bucketConfigs() {
		names = append(names, bucketStream(c.Bucket))
	}
	return names
}
