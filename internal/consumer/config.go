package consumer

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Config configures a worker. Fields without a default are required.
type Config struct {
	Layout streams.Layout
	// CAID and ProfileID are used for requests that name none.
	CAID, ProfileID string
	// Gateway names the gateway. Workers with the same name share its pauses.
	Gateway string
	// Issue, Revoke, Poll and Manage are the concurrency of the lanes: the most calls to the
	// gateway at once. A lane has a quarter more messages in flight. Defaults 64, 16, 64, 8. A
	// lane of due messages has the concurrency of its kind. Lane resubmit has a quarter of
	// Issue, at least 4.
	Issue, Revoke, Poll, Manage int
	// Schedule is when the worker polls a waiting order. Default pollsched.Default.
	Schedule pollsched.Schedule
	// MaxWait is the deadline of an order that names none, default 10 min. MaxWaitLimit is the
	// longest deadline that an order may name, default 30 days.
	MaxWait, MaxWaitLimit time.Duration
	// SubmitMaxWait bounds the waits of an order that the gateway does not accept, or does not
	// answer. Default 24 h. Waits for an open breaker or a pause do not count.
	SubmitMaxWait time.Duration
	// EnrollTimeout bounds one enrollment call. The order lease covers it. Default 120 s.
	EnrollTimeout time.Duration
	// EventDelay is how long after an enrollment the gateway's events may still lack it.
	// Default 30 s.
	EventDelay time.Duration
	// OnLostReply is order.Hold (default) or order.Resubmit.
	OnLostReply string
	// OnRollback is order.Lookup (default), order.Hold or order.Resubmit. It applies to orders
	// whose last record the bus may have lost.
	OnRollback string
	// RollbackWindow is how long after a rollback of the bus a new request counts as possibly
	// lost and published again. Zero: such a request counts as new.
	RollbackWindow time.Duration
	// StateDir is the directory in which the worker keeps, across its own restart, which writes
	// were acknowledged to it. Default "": it keeps nothing.
	StateDir string
	// ApprovalNever says that the gateway issues at once or not at all. So an order that its
	// events do not show was not created.
	ApprovalNever bool
	// RefuseUnverified refuses certificate requests whose signature this worker cannot verify.
	// False: the worker passes them on.
	RefuseUnverified bool
	// IssueCRL is CRLEach, CRLBulk or CRLRequest, the default.
	IssueCRL string
	// Properties are the properties of enrollments that name none.
	Properties Properties
	// Rate and FleetRate limit the calls to the gateway a second, of this worker and of all
	// workers together. 0 is no limit.
	Rate, FleetRate float64
	// Drain is how long a stop waits for messages in flight. Default 25 s.
	Drain time.Duration
	// Policy returns the policy in force, never nil. A nil field means no policy: every request
	// is allowed. The worker calls it often. It must be quick and safe for concurrent use.
	Policy func() *policy.Policy
	// AuditKey signs the heads of the audit trail, which the worker writes when Layout.Audited
	// is set. May be nil.
	AuditKey *audit.Key
	// Credentials names the client certificate in use, for the audit trail. May be nil.
	Credentials func() string
	// Metrics may be nil.
	Metrics *metrics.Worker
	// Tracer records each handling as a span, in the trace of its order. Nil means no traces.
	Tracer trace.Tracer
}

// Lease is the order lease for a call with this timeout. It is longer by an eighth, and by at
// least a second, for the writes before and after the call.
func Lease(enrollTimeout time.Duration) time.Duration {
	return enrollTimeout + max(enrollTimeout/8, time.Second)
}

func (c *Config) lease() time.Duration { return Lease(c.EnrollTimeout) }

// wedgedAfter is how long a message may be in flight. It covers another worker's call that the
// message waits for, the order lease, one call, and the writes around them.
func (c *Config) wedgedAfter() time.Duration { return c.lease() + 2*c.EnrollTimeout + time.Minute }

func (c *Config) setDefaults() error {
	c.Issue = cmp.Or(c.Issue, 64)
	c.Revoke = cmp.Or(c.Revoke, 16)
	c.Poll = cmp.Or(c.Poll, 64)
	c.Manage = cmp.Or(c.Manage, 8)
	if c.Schedule == (pollsched.Schedule{}) {
		c.Schedule = pollsched.Default()
	}
	c.MaxWait = cmp.Or(c.MaxWait, 10*time.Minute)
	c.MaxWaitLimit = cmp.Or(c.MaxWaitLimit, 30*24*time.Hour)
	c.SubmitMaxWait = cmp.Or(c.SubmitMaxWait, 24*time.Hour)
	c.EnrollTimeout = cmp.Or(c.EnrollTimeout, 120*time.Second)
	c.EventDelay = cmp.Or(c.EventDelay, 30*time.Second)
	c.OnLostReply = cmp.Or(c.OnLostReply, order.Hold)
	c.OnRollback = cmp.Or(c.OnRollback, order.Lookup)
	c.Drain = cmp.Or(c.Drain, 25*time.Second)
	c.IssueCRL = cmp.Or(c.IssueCRL, CRLRequest)
	switch {
	case c.CAID == "":
		return errors.New("consumer: CAID must be set")
	case min(c.Issue, c.Revoke, c.Poll, c.Manage) < 1:
		return errors.New("consumer: concurrency must be at least 1 in every lane")
	case c.OnLostReply != order.Hold && c.OnLostReply != order.Resubmit:
		return fmt.Errorf("consumer: OnLostReply must be %s or %s, not %q", order.Hold, order.Resubmit, c.OnLostReply)
	case c.OnRollback != order.Lookup && c.OnRollback != order.Hold && c.OnRollback != order.Resubmit:
		return fmt.Errorf("consumer: OnRollback must be %s, %s or %s, not %q", order.Lookup, order.Hold, order.Resubmit, c.OnRollback)
	case c.IssueCRL != CRLEach && c.IssueCRL != CRLBulk && c.IssueCRL != CRLRequest:
		return fmt.Errorf("consumer: IssueCRL must be %s, %s or %s, not %q", CRLEach, CRLBulk, CRLRequest, c.IssueCRL)
	case c.MaxWait > c.MaxWaitLimit:
		return fmt.Errorf("consumer: MaxWait must not exceed MaxWaitLimit: %s > %s", c.MaxWait, c.MaxWaitLimit)
	}
	return c.Schedule.Validate()
}

// settings are the settings of the machine.
func (c *Config) settings(worker string) order.Settings {
	return order.Settings{
		Worker: worker, CAID: c.CAID, ProfileID: c.ProfileID, Lease: c.lease(), EventDelay: c.EventDelay, Schedule: c.Schedule,
		MaxWait: c.MaxWait, MaxWaitLimit: c.MaxWaitLimit, SubmitMaxWait: c.SubmitMaxWait, KeepAfter: c.Layout.OrdersMaxAge / 4,
		OnLostReply: c.OnLostReply, OnRollback: c.OnRollback, ApprovalNever: c.ApprovalNever,
		Audited: c.Layout.Audited,
	}
}
