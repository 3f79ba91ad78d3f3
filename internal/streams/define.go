package streams

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// streamConfigs are the streams as Provision creates them. Verify requires less: only the
// settings that an invariant depends on.
func (l Layout) streamConfigs() []jetstream.StreamConfig {
	s := l.Subjects()
	all := []jetstream.StreamConfig{
		{
			Name:        l.Requests,
			Description: "Requests to the Entrust CA Gateway; each stays until it has a result",
			// No wildcard for the kind: a publish with a mistyped kind must fail. With a
			// wildcard it would stay here for ever.
			Subjects:  requestSubjects(s),
			Retention: jetstream.WorkQueuePolicy,
			Storage:   jetstream.FileStorage,
			// A full stream refuses new requests. With discard old it would drop requests.
			Discard:           jetstream.DiscardNew,
			MaxBytes:          l.RequestsMaxBytes,
			MaxMsgs:           -1,
			MaxMsgsPerSubject: -1,
			MaxMsgSize:        -1,
			MaxConsumers:      -1,
			Duplicates:        l.RequestsDuplicates,
			Replicas:          l.Replicas,
		},
		{
			Name:        l.Parked,
			Description: "Orders that wait for the Entrust CA Gateway: one scheduled message each",
			Subjects:    append([]string{s.ParkedFilter()}, dueSubjects(s)...),
			Retention:   jetstream.WorkQueuePolicy,
			Storage:     jetstream.FileStorage,
			// The server refuses discard new together with schedules. So there must be no limit
			// at all: any limit would delete parked orders silently.
			Discard:           jetstream.DiscardOld,
			MaxBytes:          -1,
			MaxMsgs:           -1,
			MaxMsgsPerSubject: -1,
			MaxMsgSize:        -1,
			MaxConsumers:      -1,
			Duplicates:        2 * time.Minute,
			Replicas:          l.Replicas,
			AllowMsgSchedules: true,
			AllowRollup:       true, // the server requires it: firing a schedule is a rollup
			AllowDirect:       true,
		},
		{
			Name:        l.Results,
			Description: "Results of requests to the Entrust CA Gateway",
			Subjects:    []string{s.ResultFilter()},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			// If an operator adds a size limit, the stream refuses a result, and the worker
			// tries again. With discard old the stream would drop another result.
			Discard:           jetstream.DiscardNew,
			MaxAge:            l.ResultsMaxAge,
			MaxBytes:          -1,
			MaxMsgs:           -1,
			MaxMsgsPerSubject: -1,
			MaxMsgSize:        -1,
			MaxConsumers:      -1,
			Duplicates:        l.ResultsDuplicates,
			Replicas:          l.Replicas,
			AllowDirect:       true,
		},
		{
			Name:        l.Dead,
			Description: "Requests that need an operator: original bytes and headers, and why",
			Subjects:    []string{s.DeadFilter()},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			// Discard new applies to the limits of the whole stream. Beyond the limit of a
			// subject, the oldest message of that subject goes, unless discard new per subject
			// is set too (nats-server 2.15, filestore.go, storeRawMsg).
			Discard:           jetstream.DiscardNew,
			MaxAge:            l.DeadMaxAge,
			MaxBytes:          -1,
			MaxMsgs:           -1,
			MaxMsgsPerSubject: l.DeadPerReason,
			MaxMsgSize:        -1,
			MaxConsumers:      -1,
			// As for results: a worker that was away for that long must still recognise its
			// dead letter.
			Duplicates:  min(l.ResultsDuplicates, l.DeadMaxAge),
			Replicas:    l.Replicas,
			AllowDirect: true,
		},
	}
	if l.Events != "" {
		all = append(all, jetstream.StreamConfig{
			Name:        l.Events,
			Description: "Events of certificates of the Entrust CA Gateway, also those of other clients",
			Subjects:    []string{s.EventFilter()},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			// A full stream refuses events, and the worker reads them again.
			Discard:           jetstream.DiscardNew,
			MaxAge:            l.EventsMaxAge,
			MaxBytes:          -1,
			MaxMsgs:           -1,
			MaxMsgsPerSubject: -1,
			MaxMsgSize:        -1,
			MaxConsumers:      -1,
			Duplicates:        min(2*time.Minute, l.EventsMaxAge),
			Replicas:          l.Replicas,
			AllowDirect:       true,
		})
	}
	if l.Audited {
		all = append(all, jetstream.StreamConfig{
			Name:        l.Audit,
			Description: "Audit trail: what was decided, for whom, by which rule; hash-chained",
			Subjects:    []string{s.AuditFilter()},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			// A full stream refuses records, and the worker then stops. With discard old it
			// would drop records.
			Discard:           jetstream.DiscardNew,
			MaxAge:            l.AuditMaxAge,
			MaxBytes:          l.AuditMaxBytes,
			MaxMsgs:           -1,
			MaxMsgsPerSubject: -1,
			MaxMsgSize:        -1,
			MaxConsumers:      -1,
			Duplicates:        min(l.ResultsDuplicates, l.AuditMaxAge),
			Replicas:          l.Replicas,
			AllowDirect:       true,
			DenyDelete:        true,
			DenyPurge:         true,
		})
	}
	return all
}

// incidents is the bucket of mass revocations as Provision creates it. Workers do not need it.
func (l Layout) incidents() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket:      l.Incidents,
		Description: "Mass revocations: lists of serials, and how far each has come",
		History:     1,
		Storage:     jetstream.FileStorage,
		Replicas:    l.Replicas,
	}
}

// bucketConfigs are the buckets of a worker as Provision creates them.
func (l Layout) bucketConfigs() []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{
		{
			Bucket:      l.Orders,
			Description: "Ledger: one record per order",
			History:     1,
			TTL:         l.OrdersMaxAge,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
		},
		{
			Bucket:      l.Control,
			Description: "Shared state of the workers: pauses, breakers, leases, presence",
			History:     1,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
			// Without it the server refuses a time to live on a single key.
			LimitMarkerTTL: time.Minute,
		},
		{
			Bucket:      l.Certs,
			Description: "Owners of certificates, until each certificate ends",
			History:     1,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
			// As above: each entry ends with its certificate.
			LimitMarkerTTL: time.Minute,
		},
		{
			Bucket:      l.Keys,
			Description: "Hashes of blocked public keys: no certificate is requested for them",
			History:     1,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
		},
	}
}

// lane is one consumer and its stream.
type lane struct {
	stream string
	config jetstream.ConsumerConfig
}

// lanes are the consumers as Provision creates them.
func (l Layout) lanes() []lane {
	s := l.Subjects()
	consumer := func(name, what string, pending int, filters ...string) jetstream.ConsumerConfig {
		c := jetstream.ConsumerConfig{
			Durable:       name,
			Description:   what,
			DeliverPolicy: jetstream.DeliverAllPolicy,
			ReplayPolicy:  jetstream.ReplayInstantPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       l.AckWait,
			// The server drops no message by itself. The worker counts deliveries.
			MaxDeliver:    -1,
			MaxAckPending: pending,
		}
		if len(filters) == 1 {
			c.FilterSubject = filters[0]
		} else {
			c.FilterSubjects = filters
		}
		return c
	}
	asks := func(kinds ...entrustbus.Kind) (filters []string) {
		for _, kind := range kinds {
			filters = append(filters, s.RequestFilter(kind), s.OperatorFilter(kind))
		}
		return filters
	}
	manage := append(asks(entrustbus.KindTrack, entrustbus.KindCancel), s.OperatorFilter(entrustbus.KindComplete), s.OperatorFilter(entrustbus.KindResolve))
	return []lane{
		{l.Requests, consumer(ConsumerIssue, "Issue requests", l.IssuePending, asks(entrustbus.KindIssue)...)},
		{l.Requests, consumer(ConsumerRevoke, "Revoke requests", l.RevokePending, asks(entrustbus.KindRevoke)...)},
		{l.Requests, consumer(ConsumerManage, "Track and cancel requests, and orders that operators end", l.ManagePending, manage...)},
		{l.Parked, consumer(ConsumerPoll, "Orders to be polled", l.DuePending, s.DueFilter(DuePoll))},
		{l.Parked, consumer(ConsumerResubmit, "Orders to be submitted again, or looked up", l.DuePending, s.DueFilter(DueResubmit))},
		{l.Parked, consumer(ConsumerRevokeAgain, "Revocations to be repeated", l.RevokePending, s.DueFilter(DueRevoke))},
		{l.Parked, consumer(ConsumerManageAgain, "Cancellations that wait for their order", l.ManagePending, s.DueFilter(DueManage))},
	}
}

// requestSubjects are the subjects that producers and operators publish on.
func requestSubjects(s entrustbus.Subjects) (subjects []string) {
	for _, kind := range []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindTrack, entrustbus.KindCancel} {
		subjects = append(subjects, s.RequestFilter(kind), s.OperatorFilter(kind))
	}
	return append(subjects, s.OperatorFilter(entrustbus.KindComplete), s.OperatorFilter(entrustbus.KindResolve))
}

// dueSubjects are the subjects of due messages.
func dueSubjects(s entrustbus.Subjects) (subjects []string) {
	for _, lane := range []string{DuePoll, DueResubmit, DueRevoke, DueManage} {
		subjects = append(subjects, s.DueFilter(lane))
	}
	return subjects
}
