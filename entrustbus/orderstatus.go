package entrustbus

import (
	"context"
	"fmt"
	"time"
)

// OrderStatus is the phase of one order and why it waits, as a worker reads it. Client.Status asks for it. Client.Order reads
// the ledger itself: it needs more permissions and returns less.
type OrderStatus struct {
	// Version is the contract's version, Version.
	Version int `json:"v"`
	// ID is the id of the request.
	ID string `json:"id"`
	// Kind is the kind of the request.
	Kind Kind `json:"kind"`
	// Phase is the phase of the order. Later versions may add phases.
	Phase Phase `json:"phase"`
	// Waits says in one line why the order waits. Empty if it does not wait.
	Waits string `json:"waits,omitempty"`
	// CAID and ProfileID are those that the order uses.
	CAID      string `json:"ca_id,omitempty"`
	ProfileID string `json:"profile_id,omitempty"`
	// TrackingID is the gateway's tracking id of the order; empty before the gateway gave one.
	TrackingID string `json:"tracking_id,omitempty"`
	// Submissions is how often the order was submitted, as in Result.
	Submissions int `json:"submissions"`
	// RequestedAt is when NATS stored the request, UpdatedAt when it stored the record.
	RequestedAt time.Time `json:"requested_at,omitzero"`
	UpdatedAt   time.Time `json:"updated_at,omitzero"`
	// Deadline is when an awaiting order expires; zero in other phases.
	Deadline time.Time `json:"deadline,omitzero"`
	// Outcome is how a closed order ended, Serial the serial number of its certificate; empty before.
	Outcome Outcome `json:"outcome,omitempty"`
	Serial  string  `json:"serial,omitempty"`
	// Replay is the generation, as in Result.
	Replay int `json:"replay"`
	// Policy names the policy that last decided about the order. Empty: none did.
	Policy string `json:"policy,omitempty"`
}

var orderStatusForm = form{
	title: "OrderStatus",
	about: "Answers a question on <prefix>.ask.<producer>.order.<id>, whose body is empty: the phase of the order and why it waits. Later versions may add keys.",
	table: table{
		{key: "v", at: at(func(o *OrderStatus) any { return &o.Version }), shape: version{}, always: true, about: "Version of the contract."},
		{key: "id", at: at(func(o *OrderStatus) any { return &o.ID }), shape: tokenShape, always: true, about: "Id of the request."},
		{key: "kind", at: at(func(o *OrderStatus) any { return (*string)(&o.Kind) }), shape: text{enum: words(kinds)}, always: true, about: "Kind of the request."},
		{key: "phase", at: at(func(o *OrderStatus) any { return (*string)(&o.Phase) }), shape: text{}, always: true, about: "Phase of the order: submitting, unaccepted, indeterminate, awaiting, concluded or closed. Later versions may add phases."},
		{key: "waits", at: at(func(o *OrderStatus) any { return &o.Waits }), shape: text{}, about: "Why the order waits, for people. Absent if it does not wait."},
		{key: "ca_id", at: at(func(o *OrderStatus) any { return &o.CAID }), shape: text{}, about: "The CA that the order uses."},
		{key: "profile_id", at: at(func(o *OrderStatus) any { return &o.ProfileID }), shape: text{}, about: "The profile that the order uses."},
		{key: "tracking_id", at: at(func(o *OrderStatus) any { return &o.TrackingID }), shape: text{}, about: "The gateway's tracking id of the order. Absent before the gateway gave one."},
		{key: "submissions", at: at(func(o *OrderStatus) any { return &o.Submissions }), shape: count{}, always: true, about: "How often the order was submitted."},
		{key: "requested_at", at: at(func(o *OrderStatus) any { return &o.RequestedAt }), shape: instant{}, about: "When NATS stored the request, in UTC by the server's clock."},
		{key: "updated_at", at: at(func(o *OrderStatus) any { return &o.UpdatedAt }), shape: instant{}, about: "When NATS stored the record of the order, in UTC by the server's clock."},
		{key: "deadline", at: at(func(o *OrderStatus) any { return &o.Deadline }), shape: instant{}, about: "When an order in the phase awaiting expires, in UTC."},
		{key: "outcome", at: at(func(o *OrderStatus) any { return (*string)(&o.Outcome) }), shape: text{enum: words(outcomes)}, about: "How a closed order ended."},
		{key: "serial", at: at(func(o *OrderStatus) any { return &o.Serial }), shape: text{}, about: "Serial number of its certificate, in lower-case hexadecimal."},
		{key: "replay", at: at(func(o *OrderStatus) any { return &o.Replay }), shape: count{}, always: true, about: "The generation: 0, and 1 more with each replay by an operator."},
		{key: "policy", at: at(func(o *OrderStatus) any { return &o.Policy }), shape: text{}, about: "The policy that last decided about the order, as the worker's log names it."},
	},
}

// Status asks a worker for the phase of an order, and why it waits. Errors: ErrNoOrder, ErrUnavailable, ErrNoWorker,
// ErrNotAllowed, or an error of NATS.
func (c *Client) Status(ctx context.Context, id string) (*OrderStatus, error) {
	if !ValidToken(id) {
		return nil, errToken("id")
	}
	answer := new(OrderStatus)
	if err := c.ask(ctx, c.cfg.Subjects.AskOrder(c.cfg.Producer, id), nil, answer); err != nil {
		return nil, fmt.Errorf("asking for the order %q: %w", id, err)
	}
	return answer, nil
}

// WorkerVersion is the version of one worker and of its policy. Client.Version asks for it.
type WorkerVersion struct {
	// Version is the contract's version, Version.
	Version int `json:"v"`
	// Worker is the name of the worker that answers, WorkerVersion the version of its program.
	Worker        string `json:"worker"`
	WorkerVersion string `json:"worker_version"`
	// PolicyDigest is the SHA-256 of the policy in force, in hexadecimal. Logs and answers name the policy by its first
	// half. Empty: there is none.
	PolicyDigest string `json:"policy_digest,omitempty"`
}

var workerVersionForm = form{
	title: "WorkerVersion",
	about: "Answers a question on <prefix>.ask.<producer>.version, whose body is empty: the version of one worker. Later versions may add keys.",
	table: table{
		{key: "v", at: at(func(v *WorkerVersion) any { return &v.Version }), shape: version{}, always: true, about: "Version of the contract."},
		{key: "worker", at: at(func(v *WorkerVersion) any { return &v.Worker }), shape: text{}, always: true, about: "The worker that answers."},
		{key: "worker_version", at: at(func(v *WorkerVersion) any { return &v.WorkerVersion }), shape: text{}, always: true, about: "The version of its program."},
		{key: "policy_digest", at: at(func(v *WorkerVersion) any { return &v.PolicyDigest }), shape: text{}, about: "SHA-256 of the policy in force, in hexadecimal; logs name the policy by its first half. Absent: everything is allowed."},
	},
}

// Version asks a worker for its version. One worker of the fleet answers; others may run other versions. Errors are those of
// Status except ErrNoOrder.
func (c *Client) Version(ctx context.Context) (*WorkerVersion, error) {
	answer := new(WorkerVersion)
	if err := c.ask(ctx, c.cfg.Subjects.Ask(c.cfg.Producer, TopicVersion), nil, answer); err != nil {
		return nil, fmt.Errorf("asking a worker for its version: %w", err)
	}
	return answer, nil
}
