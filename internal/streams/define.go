package streams

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// streamConfigs are the streams as Provision creates them. Verify asks for
// exactly what an invariant rests on, which is less.
func (l Layout) streamConfigs() []jetstream.StreamConfig {
	s := l.Subjects()
	all := []jetstream.StreamConfig{
		{
			Name:        l.Requests,
			Description: "Requests to the Entrust CA Gateway; each stays until it has a result",
			// No wildcard over the kind: a mistyped kind is to fail at its publisher, not to
			// lie here for ever.
			Subjects:  requestSubjects(s),
			Retention: jetstream.WorkQueuePolicy,
			Storage:   jetstream.FileStorage,
			// Full means "no" to the publisher. Discarding old would drop requests.
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
			// The server refuses discard new beside schedules, so there must be no limit
			// at all: any would delete parked orders without a word.
			Discard:           jetstream.DiscardOld,
			MaxBytes:          -1,
			MaxMsgs:           -1,
			MaxMsgsPerSubject: -1,
			MaxMsgSize:        -1,
			MaxConsumers:      -1,
			Duplicates:        2 * time.Minute,
			Replicas:          l.Replicas,
			AllowMsgSchedules: true,
			AllowRollup:       true, // the server insists: it rolls a schedule up itself
			AllowDirect:       true,
		},
		{
			Name:        l.Results,
			Description: "Results of requests to the Entrust CA Gateway",
			Subjects:    []string{s.ResultFilter()},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			// Should an operator add a size limit, a result is then refused and tried
			// again, rather than another one dropped.
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
			// Discard new concerns the limits of the whole stream. Beyond the one of a subject,
			// the oldest message of that subject goes, unless discard new per subject is set
			// too (nats-server 2.15, filestore.go, storeRawMsg).
			Discard:           jetstream.DiscardNew,
			MaxAge:            l.DeadMaxAge,
			MaxBytes:          -1,
			MaxMsgs:           -1,
			MaxMsgsPerSubject: l.DeadPerReason,
			MaxMsgSize:        -1,
			MaxConsumers:      -1,
			// As for results: a worker that is away for so long knows its letter again.
			Duplicates:  min(l.ResultsDuplicates, l.DeadMaxAge),
			Replicas:    l.Replicas,
			AllowDirect: true,
		},
	}
	if l.Events != "" {
		all = append(all, jetstream.StreamConfig{
			Name:        l.Events,
			Description: "What happened to certificates of the Entrust CA Gateway, by whomever",
			Subjects:    []string{s.EventFilter()},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			// Full, it refuses events, and they are read again.
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
			// Full means "no" to the worker, which stops then. Discarding old would drop records.
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

// incidents is the bucket of mass revocations as Provision creates it. No worker needs it.
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
			Description: "What the workers tell each other: pauses, breakers, leases, presence",
			History:     1,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
			// Only this makes the server accept a time to live on a single key.
			LimitMarkerTTL: time.Minute,
		},
		{
			Bucket:      l.Certs,
			Description: "Whose a certificate is, until it ends",
			History:     1,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
			// As above: each entry ends with its certificate.
			LimitMarkerTTL: time.Minute,
		},
		{
			Bucket:      l.Keys,
			Description: "Public keys that no certificate is asked for again, by their hash",
			History:     1,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
		},
	}
}

// lane is one consumer and the stream that it is on.
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
			// The server drops nothing by itself: the worker counts deliveries.
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

// requestSubjects are what producers and operators may publish.
func requestSubjects(s entrustbus.Subjects) (subjects []string) {
	for _, kind := range []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindTrack, entrustbus.KindCancel} {
		subjects = append(subjects, s.RequestFilter(kind), s.OperatorFilter(kind))
	}
	return append(subjects, s.OperatorFilter(entrustbus.KindComplete), s.OperatorFilter(entrustbus.KindResolve))
}

// dueSubjects are where wake-ups go when their time has come.
func dueSubjects(s entrustbus.Subjects) (subjects []string) {
	for _, lane := range []string{DuePoll, DueResubmit, DueRevoke, DueManage} {
		subjects = append(subjects, s.DueFilter(lane))
	}
	return subjects
}
