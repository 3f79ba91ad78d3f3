package entrustbus

import (
	"slices"
	"time"
)

// Outcome is how a request ended.
type Outcome string

// The outcomes.
const (
	// OutcomeIssued: there is a certificate, and it was checked against the request.
	OutcomeIssued Outcome = "issued"
	// OutcomeRevoked: the gateway accepted the revocation.
	OutcomeRevoked Outcome = "revoked"
	// OutcomeRejected: an approver rejected the order, or the worker's policy refused it, with an error of ClassPolicy.
	OutcomeRejected Outcome = "rejected"
	// OutcomeFailed: the request cannot be carried out; Error says why.
	OutcomeFailed Outcome = "failed"
	// OutcomeExpired: no approval came in time. A track request with TrackingID waits for the order again.
	OutcomeExpired Outcome = "expired"
	// OutcomeUnconfirmed: the gateway may have accepted the request, and the worker cannot prove it. An operator decides.
	OutcomeUnconfirmed Outcome = "unconfirmed"
	// OutcomeCancelled: a cancel request stopped waiting for the order.
	OutcomeCancelled Outcome = "cancelled"
)

// Valid reports whether o is one of the outcomes.
func (o Outcome) Valid() bool {
	return slices.Contains(outcomes, o)
}

var outcomes = []Outcome{
	OutcomeIssued, OutcomeRevoked, OutcomeRejected, OutcomeFailed, OutcomeExpired, OutcomeUnconfirmed, OutcomeCancelled,
}

// Class is the kind of error that ended a request.
type Class string

// The classes of error.
const (
	// ClassTimeout: no approval came before the deadline, or no answer came in time.
	ClassTimeout Class = "timeout"
	// ClassAuth: the gateway refuses the worker's credentials. Requests wait for these, so it is rarely in a result.
	ClassAuth Class = "auth"
	// ClassRateLimited: the gateway's quota. Requests wait for it as well.
	ClassRateLimited Class = "rate_limited"
	// ClassValidation: the request is wrong. The gateway answered 400 or 422, or a worker refused it without sending it.
	ClassValidation Class = "validation"
	// ClassUpstream5xx and ClassUpstream4xx: the gateway refused it for another reason.
	ClassUpstream5xx Class = "upstream_5xx"
	ClassUpstream4xx Class = "upstream_4xx"
	// ClassNetwork: an answer was lost on its way.
	ClassNetwork Class = "network"
	// ClassPolicy: the worker's policy or the gateway's rules refuse it, or the gateway's licence is used up.
	ClassPolicy Class = "policy"
	// ClassOther: an approver rejected it, or the reason in Code.
	ClassOther Class = "other"
)

// Valid reports whether c is one of the classes.
func (c Class) Valid() bool {
	return slices.Contains(classes, c)
}

var classes = []Class{
	ClassTimeout, ClassAuth, ClassRateLimited, ClassValidation, ClassUpstream5xx, ClassUpstream4xx, ClassNetwork, ClassPolicy,
	ClassOther,
}

// Result is the one answer to a request in one replay generation. Fields that do not apply are zero and not on the wire. The
// counters and PossibleDuplicate are always on the wire.
type Result struct {
	// Version is the contract's version. EncodeResult takes 0 for Version.
	Version int `json:"v"`
	// ID, Producer and Kind are those of the request.
	ID       string `json:"id"`
	Producer string `json:"producer"`
	Kind     Kind   `json:"kind"`
	// Outcome is how the request ended.
	Outcome Outcome `json:"outcome"`
	// CertificatePEM is the issued certificate, ChainPEM the certificates above it, nearest first, possibly none.
	CertificatePEM string `json:"certificate_pem,omitempty"`
	ChainPEM       string `json:"chain_pem,omitempty"`
	// Serial is the certificate's serial number in lower-case hexadecimal, SerialDecimal the same in decimal.
	Serial        string `json:"serial,omitempty"`
	SerialDecimal string `json:"serial_decimal,omitempty"`
	// NotBefore and NotAfter are the certificate's validity.
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	// TrackingID is the gateway's tracking id of the order; empty if the gateway gave none.
	TrackingID string `json:"tracking_id,omitempty"`
	// CAID and ProfileID are the CA and the profile that were used.
	CAID      string `json:"ca_id,omitempty"`
	ProfileID string `json:"profile_id,omitempty"`
	// Error says why there is no certificate or revocation. It is nil if there is one, and if the request was cancelled:
	// look at Outcome first.
	Error *ResultError `json:"error,omitempty"`
	// Submissions is how often a worker sent the request to the gateway so that it may have arrived.
	Submissions int `json:"submissions"`
	// PossibleDuplicate is true when the gateway may hold a second order for the same request.
	PossibleDuplicate bool `json:"possible_duplicate"`
	// Polls is how often a worker polled the pending order.
	Polls int `json:"polls"`
	// RequestedAt is when NATS stored the request, by the server's clock. SubmittedAt is when a worker last sent it to the
	// gateway so that it may have arrived. FinishedAt is when the worker made this result. Both are by the worker's clock.
	RequestedAt time.Time `json:"requested_at,omitzero"`
	SubmittedAt time.Time `json:"submitted_at,omitzero"`
	FinishedAt  time.Time `json:"finished_at,omitzero"`
	// Replay is the generation: 0 for the producer's own request, 1 more for each replay by an operator. The result
	// of the highest generation is the one in force.
	Replay int `json:"replay"`
	// Labels are the labels of the request.
	Labels map[string]string `json:"labels,omitempty"`
	// Warnings are findings that did not refuse the request, one sentence each: unknown keys near known ones, a validity that
	// was cut, a shortened chain.
	Warnings []string `json:"warnings,omitempty"`
	// Sequence is the sequence of the result in its stream, for ResultsAfter. It is not on the wire: a Client sets it, and
	// DecodeResult leaves it 0.
	Sequence uint64 `json:"-"`
}

// ResultError says why a request did not succeed. Class is for all programs, Code for programs that know the gateway. The
// texts are bounded and hold no certificate request. It is an error, but a nil *ResultError is not a nil error.
type ResultError struct {
	Class      Class  `json:"class"`
	Code       string `json:"code,omitempty"`        // the gateway's or the worker's code of the error
	Message    string `json:"message,omitempty"`     // one line for people
	HTTPStatus int    `json:"http_status,omitempty"` // the gateway's status, 0 when it gave none
}

// Error is the class and the message.
func (e *ResultError) Error() string {
	if e.Message == "" {
		return string(e.Class)
	}
	return string(e.Class) + ": " + e.Message
}

var resultForm = form{
	title: "Result",
	about: "How a request ended, in one replay generation. Published to <prefix>.result.<producer>.<id>; the highest replay is in force. Later versions may add keys.",
	table: table{
		{key: "v", at: at(func(r *Result) any { return &r.Version }), shape: version{}, always: true, about: "Version of the contract."},
		{key: "id", at: at(func(r *Result) any { return &r.ID }), shape: tokenShape, always: true, about: "The id of the request."},
		{key: "producer", at: at(func(r *Result) any { return &r.Producer }), shape: tokenShape, always: true, about: "The producer of the request."},
		{key: "kind", at: at(func(r *Result) any { return (*string)(&r.Kind) }), shape: text{enum: words(kinds)}, always: true, about: "The kind of the request."},
		{key: "outcome", at: at(func(r *Result) any { return (*string)(&r.Outcome) }), shape: text{enum: words(outcomes)}, always: true, about: "How the request ended."},
		{key: "certificate_pem", at: at(func(r *Result) any { return &r.CertificatePEM }), shape: text{}, about: "The issued certificate."},
		{key: "chain_pem", at: at(func(r *Result) any { return &r.ChainPEM }), shape: text{}, about: "The certificates above it, nearest first."},
		{key: "serial", at: at(func(r *Result) any { return &r.Serial }), shape: text{pattern: "^[0-9a-f]*$"}, about: "Serial number in lower-case hexadecimal."},
		{key: "serial_decimal", at: at(func(r *Result) any { return &r.SerialDecimal }), shape: text{pattern: "^[0-9]*$"}, about: "The same in decimal."},
		{key: "not_before", at: at(func(r *Result) any { return &r.NotBefore }), shape: instant{}, about: "Start of the certificate's validity, in UTC."},
		{key: "not_after", at: at(func(r *Result) any { return &r.NotAfter }), shape: instant{}, about: "End of the certificate's validity, in UTC."},
		{key: "tracking_id", at: at(func(r *Result) any { return &r.TrackingID }), shape: text{}, about: "The gateway's tracking id of the order. Absent if the gateway gave none."},
		{key: "ca_id", at: at(func(r *Result) any { return &r.CAID }), shape: text{}, about: "The certificate authority that was used."},
		{key: "profile_id", at: at(func(r *Result) any { return &r.ProfileID }), shape: text{}, about: "The profile that was used."},
		{key: "error", at: at(func(r *Result) any { return &r.Error }), shape: resultError{}, about: "Why there is no certificate or revocation. Absent if there is one."},
		{key: "submissions", at: at(func(r *Result) any { return &r.Submissions }), shape: count{}, always: true, about: "How often a worker sent the request to the gateway so that it may have arrived."},
		{key: "possible_duplicate", at: at(func(r *Result) any { return &r.PossibleDuplicate }), shape: flag{}, always: true, about: "True when the gateway may hold a second order for the same request."},
		{key: "polls", at: at(func(r *Result) any { return &r.Polls }), shape: count{}, always: true, about: "How often a worker polled the pending order."},
		{key: "requested_at", at: at(func(r *Result) any { return &r.RequestedAt }), shape: instant{}, about: "When NATS stored the request, in UTC by the server's clock."},
		{key: "submitted_at", at: at(func(r *Result) any { return &r.SubmittedAt }), shape: instant{}, about: "When a worker last sent the request to the gateway so that it may have arrived, in UTC by the worker's clock."},
		{key: "finished_at", at: at(func(r *Result) any { return &r.FinishedAt }), shape: instant{}, about: "When the worker made this result, in UTC by the worker's clock."},
		{key: "replay", at: at(func(r *Result) any { return &r.Replay }), shape: count{}, always: true, about: "The replay generation: 0 for the producer's own request, 1 more for each replay by an operator."},
		{key: "labels", at: at(func(r *Result) any { return &r.Labels }), shape: labels{}, about: "Labels of the request. Lengths count bytes of UTF-8."},
		{key: "warnings", at: at(func(r *Result) any { return &r.Warnings }), shape: list{}, about: "Findings that did not refuse the request: unknown keys near known ones, a validity that was cut, a shortened chain."},
	},
}

var resultErrorTable = table{
	{key: "class", at: at(func(e *ResultError) any { return (*string)(&e.Class) }), shape: text{enum: words(classes)}, always: true, about: "Kind of error that ended the request."},
	{key: "code", at: at(func(e *ResultError) any { return &e.Code }), shape: text{}, about: "The gateway's or the worker's code of the error."},
	{key: "message", at: at(func(e *ResultError) any { return &e.Message }), shape: text{}, about: "One line for people."},
	{key: "http_status", at: at(func(e *ResultError) any { return &e.HTTPStatus }), shape: count{}, about: "The gateway's HTTP status. Absent if it gave none."},
}

// resultError is a **ResultError.
type resultError struct{}

func (resultError) read(f *fieldReader, key string, to any) {
	inner := f.inner(key)
	if inner == nil {
		return
	}
	e := new(ResultError)
	resultErrorTable.read(inner, e)
	f.adopt(key, inner)
	*to.(**ResultError) = e
}

func (resultError) write(from any) any {
	if e := *from.(**ResultError); e != nil {
		return resultErrorTable.write(nil, e)
	}
	return nil
}

func (resultError) check(string, any) error                  { return nil }
func (resultError) content(b []byte, _ string, _ any) []byte { return b }
func (resultError) schema() document                         { return objectSchema(resultErrorTable) }

// objectSchema is the JSON Schema of an object with the keys of a table.
func objectSchema(t table) document {
	properties, required := document(nil), []string{}
	for _, f := range t {
		properties = properties.must(f.key, append(f.shape.schema(), pair{"description", f.about}))
		if f.required || f.always {
			required = append(required, f.key)
		}
	}
	return document(nil).must("type", "object").must("properties", properties).must("required", required)
}

// words are the values of a type of strings.
func words[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = string(v)
	}
	return out
}

// validate checks what every result must have. It refuses an unknown outcome or class: that belongs to a later version of the
// contract.
func (r *Result) validate() error {
	switch {
	case !ValidToken(r.ID):
		return errToken("id")
	case !ValidToken(r.Producer):
		return errToken("producer")
	case !r.Kind.Valid():
		return &FieldError{Field: "kind", Problem: "is an unknown request kind"}
	case !r.Outcome.Valid():
		return &FieldError{Field: "outcome", Problem: "is not an outcome of this version of the contract"}
	case r.Error != nil && !r.Error.Class.Valid():
		return &FieldError{Field: "error.class", Problem: "is not a class of this version of the contract"}
	}
	return nil
}
