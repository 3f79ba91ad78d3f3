// Package streams knows the JetStream side of the worker. It defines the streams, buckets and
// consumers, and the settings that the worker's invariants depend on. It creates missing ones
// and reports wrong settings of existing ones. It never changes an existing one.
package streams

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// The durable consumers. Requests come from the request stream, due messages from the parked
// stream. Each lane has its own consumer, so that a backlog of one lane never delays another.
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

// DueConsumer returns the consumer of a lane of due messages. An unknown lane returns
// ConsumerResubmit.
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

// RequestConsumer returns the consumer of the requests of a kind.
func RequestConsumer(kind entrustbus.Kind) string {
	switch kind {
	case entrustbus.KindIssue:
		return ConsumerIssue
	case entrustbus.KindRevoke:
		return ConsumerRevoke
	}
	return ConsumerManage
}

// Layout names the streams and buckets and holds their configurable settings. The zero value is
// not valid; start from DefaultLayout. A Layout is a plain value, safe for concurrent reads.
type Layout struct {
	// Prefix is the first part of every subject: one or more subject tokens.
	Prefix string

	// Names of the streams.
	Requests, Parked, Results, Dead string
	// Events is the stream of certificate events. Empty means no stream.
	Events string
	// Audit is the stream of the audit trail. Audited says whether the stream is used.
	Audit   string
	Audited bool
	// Names of the key-value buckets: the ledger, the shared state of the workers, and mass
	// revocations. Only verbs need the last one.
	Orders, Control, Incidents string
	// Names of the buckets that a policy needs: owners of certificates, and blocked keys.
	Certs, Keys string

	// Replicas of every stream and bucket, 1 to 5. Existing ones may have more or fewer;
	// Inspect reports that as a note.
	Replicas int

	// RequestsMaxBytes is the size in bytes at which the request stream refuses new requests.
	// At least 1 MiB.
	RequestsMaxBytes int64
	// RequestsDuplicates is how long the server itself recognises a request that is published
	// twice. After that, the ledger does.
	RequestsDuplicates time.Duration
	// ResultsDuplicates is the same for results and dead letters. It must cover the time
	// between two attempts to publish one, and not exceed ResultsMaxAge.
	ResultsDuplicates time.Duration
	// ResultsMaxAge is how long results are kept.
	ResultsMaxAge time.Duration
	// EventsMaxAge is how long certificate events are kept.
	EventsMaxAge time.Duration
	// DeadMaxAge is how long dead letters are kept.
	DeadMaxAge time.Duration
	// DeadPerReason is how many dead letters of one producer and reason are kept. When there
	// are more, the oldest of them goes. At least 1.
	DeadPerReason int64
	// AuditMaxAge and AuditMaxBytes bound the audit trail. A full audit trail refuses records,
	// and the lanes stop. AuditMaxBytes is at least 1 MiB.
	AuditMaxAge   time.Duration
	AuditMaxBytes int64
	// OrdersMaxAge is how long the ledger keeps a record after its last change. Within that
	// time the same id never enrolls again. Not below ResultsMaxAge.
	OrdersMaxAge time.Duration

	// AckWait is how long the server waits for an acknowledgement or extension before it
	// redelivers a message to another worker. 1 s to 1 h.
	AckWait time.Duration
	// The most messages in flight over all workers, per lane. At least 1. A due lane has the
	// bound of its kind; DuePending is the bound of polls and of repeated submissions.
	IssuePending, RevokePending, ManagePending, DuePending int
}

// DefaultLayout returns the layout that the documentation describes.
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
	// A stream name may contain more characters than the name of a bucket. One rule covers
	// both.
	nameRule   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	prefixRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64})*$`)
)

const minRequestsBytes = 1 << 20

// Validate checks the values and the relations among them, and joins all errors. Each message
// holds the values that conflict.
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
		// The server's own minimum of a duplicate window and of an age.
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

// Objects returns the number of streams, buckets and consumers of this layout.
func (l Layout) Objects() (streams, buckets, consumers int) {
	return len(l.streamConfigs()), len(l.bucketConfigs()), len(l.lanes())
}

// bucketStream is the stream that holds a key-value bucket.
func bucketStream(bucket string) string { return "KV_" + bucket }

// Names returns the names of the streams of this layout, then those of the streams below its
// buckets.
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
