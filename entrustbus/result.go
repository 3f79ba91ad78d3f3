package entrustbus

import "time"

// Outcome is how a request ended.
type Outcome string

// The outcomes.
const (
	// OutcomeIssued: there is a certificate, and it was checked against the request.
	OutcomeIssued Outcome = "issued"
	// OutcomeRevoked: the gateway took the revocation.
	OutcomeRevoked Outcome = "revoked"
	// OutcomeRejected: an approver said no.
	OutcomeRejected Outcome = "rejected"
	// OutcomeFailed: the request itself cannot be done; Error says why.
	OutcomeFailed Outcome = "failed"
	// OutcomeExpired: nobody decided in time; TrackingID lets a track request take the order up again.
	OutcomeExpired Outcome = "expired"
	// OutcomeUnconfirmed: the gateway's answer was lost, and nothing could prove what it did. An operator decides.
	OutcomeUnconfirmed Outcome = "unconfirmed"
	// OutcomeCancelled: a cancel request stopped the waiting.
	OutcomeCancelled Outcome = "cancelled"
)

// Valid reports whether o is one of the outcomes.
func (o Outcome) Valid() bool {
	switch o {
	case OutcomeIssued, OutcomeRevoked, OutcomeRejected, OutcomeFailed, OutcomeExpired, OutcomeUnconfirmed, OutcomeCancelled:
		return true
	}
	return false
}

// Class is what kind of trouble ended a request.
type Class string

// The classes of error.
const (
	// ClassTimeout: nobody decided before the deadline, or no answer came in time.
	ClassTimeout Class = "timeout"
	// ClassAuth: the worker's credentials. Requests wait for these, so it is hardly ever in a result.
	ClassAuth Class = "auth"
	// ClassRateLimited: the gateway's quota. Requests wait for it as well.
	ClassRateLimited Class = "rate_limited"
	// ClassValidation: the request's own fault; the gateway said 400 or 422, or it was refused unsent.
	ClassValidation Class = "validation"
	// ClassUpstream5xx and ClassUpstream4xx: the gateway refused it for another reason.
	ClassUpstream5xx Class = "upstream_5xx"
	ClassUpstream4xx Class = "upstream_4xx"
	// ClassNetwork: an answer was lost on its way.
	ClassNetwork Class = "network"
	// ClassPolicy: the gateway's licence is used up, or its rules say no.
	ClassPolicy Class = "policy"
	// ClassOther: an approver's no, and what Code says.
	ClassOther Class = "other"
)

// Valid reports whether c is one of the classes.
func (c Class) Valid() bool {
	switch c {
	case ClassTimeout, ClassAuth, ClassRateLimited, ClassValidation, ClassUpstream5xx, ClassUpstream4xx, ClassNetwork,
		ClassPolicy, ClassOther:
		return true
	}
	return false
}

// Result is the one answer to a request in one replay generation. Fields that do not apply are zero and not on the wire;
// the counters and PossibleDuplicate always are.
type Result struct {
	// Version is the contract's version. EncodeResult takes 0 for Version.
	Version int `json:"v"`
	// ID, Producer and Kind are those of the request.
	ID       string `json:"id"`
	Producer string `json:"producer"`
	Kind     Kind   `json:"kind"`
	// Outcome is how it ended.
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
	// TrackingID is the gateway's name of the order, where it gave one.
	TrackingID string `json:"tracking_id,omitempty"`
	// CAID and ProfileID are those that were used.
	CAID      string `json:"ca_id,omitempty"`
	ProfileID string `json:"profile_id,omitempty"`
	// Error says why there is no certificate or revocation. It is nil where there is one, and where the request was
	// cancelled: look at Outcome first.
	Error *ResultError `json:"error,omitempty"`
	// Submissions is how often the request was sent to the gateway and may have reached it.
	Submissions int `json:"submissions"`
	// PossibleDuplicate is true when the gateway may hold a second order for the same request.
	PossibleDuplicate bool `json:"possible_duplicate"`
	// Polls is how often the gateway was asked about the pending order.
	Polls int `json:"polls"`
	// RequestedAt is when the bus stored the request, by the server's clock. SubmittedAt is when it was last sent to the
	// gateway, which may have seen it then: later than the first time where the gateway took it only then, or it was
	// submitted again. FinishedAt is when this result was made. Both are by the worker's clock.
	RequestedAt time.Time `json:"requested_at,omitzero"`
	SubmittedAt time.Time `json:"submitted_at,omitzero"`
	FinishedAt  time.Time `json:"finished_at,omitzero"`
	// Replay is the generation: 0 for the producer's own request, one more for each replay by an operator. The result
	// of the highest generation is the one in force.
	Replay int `json:"replay"`
	// Labels are those of the request.
	Labels map[string]string `json:"labels,omitempty"`
	// Sequence is where the stream of results has it, for ResultsAfter. It is not on the wire: a Client sets it, and it
	// is 0 in what DecodeResult returns.
	Sequence uint64 `json:"-"`
}

// ResultError is why a request did not get what it asked for. Class is for programs, Code for those that know the gateway.
// Its texts are bounded and hold no certificate request. It is an error, but a nil *ResultError is not a nil error.
type ResultError struct {
	Class      Class  `json:"class"`
	Code       string `json:"code,omitempty"`        // the gateway's or worker's word for it
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

func (r *Result) appendFields(d document) document {
	d = d.must("v", int64(Version)).
		must("id", r.ID).
		must("producer", r.Producer).
		must("kind", string(r.Kind)).
		must("outcome", string(r.Outcome)).
		text("certificate_pem", r.CertificatePEM).
		text("chain_pem", r.ChainPEM).
		text("serial", r.Serial).
		text("serial_decimal", r.SerialDecimal).
		time("not_before", r.NotBefore).
		time("not_after", r.NotAfter).
		text("tracking_id", r.TrackingID).
		text("ca_id", r.CAID).
		text("profile_id", r.ProfileID)
	if e := r.Error; e != nil {
		d = d.must("error", document(nil).
			must("class", string(e.Class)).
			text("code", e.Code).
			text("message", e.Message).
			number("http_status", int64(e.HTTPStatus)))
	}
	return d.must("submissions", int64(r.Submissions)).
		must("possible_duplicate", r.PossibleDuplicate).
		must("polls", int64(r.Polls)).
		time("requested_at", r.RequestedAt).
		time("submitted_at", r.SubmittedAt).
		time("finished_at", r.FinishedAt).
		must("replay", int64(r.Replay)).
		labels("labels", r.Labels)
}

func (r *Result) readFields(f *fieldReader) {
	r.Version = Version
	r.ID = f.text("id")
	r.Producer = f.text("producer")
	r.Kind = Kind(f.text("kind"))
	r.Outcome = Outcome(f.text("outcome"))
	r.CertificatePEM = f.text("certificate_pem")
	r.ChainPEM = f.text("chain_pem")
	r.Serial = f.text("serial")
	r.SerialDecimal = f.text("serial_decimal")
	r.NotBefore = f.time("not_before")
	r.NotAfter = f.time("not_after")
	r.TrackingID = f.text("tracking_id")
	r.CAID = f.text("ca_id")
	r.ProfileID = f.text("profile_id")
	if e := f.inner("error"); e != nil {
		r.Error = &ResultError{
			Class:      Class(e.text("class")),
			Code:       e.text("code"),
			Message:    e.text("message"),
			HTTPStatus: e.count("http_status"),
		}
		f.adopt("error", e)
	}
	r.Submissions = f.count("submissions")
	r.PossibleDuplicate = f.flag("possible_duplicate")
	r.Polls = f.count("polls")
	r.RequestedAt = f.time("requested_at")
	r.SubmittedAt = f.time("submitted_at")
	r.FinishedAt = f.time("finished_at")
	r.Replay = f.count("replay")
	r.Labels = f.labels("labels")
}

// validate checks what every result must have. An outcome or class that this version does not know is refused: it
// would be one of a later version of the contract.
func (r *Result) validate() error {
	switch {
	case !ValidToken(r.ID):
		return errToken("id")
	case !ValidToken(r.Producer):
		return errToken("producer")
	case !r.Kind.Valid():
		return &FieldError{Field: "kind", Problem: "is no kind of request"}
	case !r.Outcome.Valid():
		return &FieldError{Field: "outcome", Problem: "is no outcome of this version of the contract"}
	case r.Error != nil && !r.Error.Class.Valid():
		return &FieldError{Field: "error.class", Problem: "is no class of this version of the contract"}
	}
	return nil
}
