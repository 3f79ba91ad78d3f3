package entrustbus

import "time"

// Suspension is an operator's instruction to stop calls to the gateway, or to let them go on. Several fields mean the calls
// that match all of them. It is the body of a message on Subjects.AskOperator.
type Suspension struct {
	// Lane is issue, revoke, poll or manage; Producer and CAID are those of the calls. Empty: any.
	Lane     string `json:"lane,omitempty"`
	Producer string `json:"producer,omitempty"`
	CAID     string `json:"ca_id,omitempty"`
	// All means every call. It is required if the others are empty, so that a missing key does not stop everything by
	// mistake.
	All bool `json:"all,omitempty"`
	// Operator is the name of the operator, for logs and the audit trail. Required.
	Operator string `json:"operator"`
	// Reason says why, in one line, which producers may read.
	Reason string `json:"reason,omitempty"`
}

// Suspended is the answer to a Suspension.
type Suspended struct {
	// Version is the contract's version, Version.
	Version int `json:"v"`
	// Changed says that the message changed something. It is false if these calls were suspended already, or if there was no
	// suspension to end.
	Changed bool `json:"changed"`
	// About says in one line which calls are or were suspended, with operator and reason.
	About string `json:"about"`
	// Since is the begin of the suspension; zero if it is new, or if there was none.
	Since time.Time `json:"since,omitzero"`
}

// MaxReasonBytes bounds an operator's name and reason in a Suspension.
const MaxReasonBytes = 256

var lineShape = text{most: MaxReasonBytes, line: true}

var suspensionForm = form{
	title: "Suspension",
	about: "A message on <prefix>.ask.@operator.suspend or .resume, for operators: stops calls to the gateway, or lets them go on. Several keys mean the calls that match all of them. Unknown keys are refused.",
	table: table{
		{key: "lane", at: at(func(s *Suspension) any { return &s.Lane }), shape: text{enum: []string{"issue", "revoke", "poll", "manage"}}, about: "The calls of this lane."},
		{key: "producer", at: at(func(s *Suspension) any { return &s.Producer }), shape: tokenShape, about: "The calls for this producer's orders."},
		{key: "ca_id", at: at(func(s *Suspension) any { return &s.CAID }), shape: nameShape, about: "The calls at this certificate authority. Length counts bytes of UTF-8."},
		{key: "all", at: at(func(s *Suspension) any { return &s.All }), shape: flag{}, about: "True for every call. Required if no other key names any."},
		{key: "operator", at: at(func(s *Suspension) any { return &s.Operator }), shape: lineShape, required: true, about: "Name of the operator, for logs and the audit trail. Length counts bytes of UTF-8."},
		{key: "reason", at: at(func(s *Suspension) any { return &s.Reason }), shape: lineShape, about: "Why, in one line, which producers may read. Length counts bytes of UTF-8."},
	},
}

var suspendedForm = form{
	title: "Suspended",
	about: "Answers a message on <prefix>.ask.@operator.suspend or .resume. Later versions may add keys.",
	table: table{
		{key: "v", at: at(func(s *Suspended) any { return &s.Version }), shape: version{}, always: true, about: "Version of the contract."},
		{key: "changed", at: at(func(s *Suspended) any { return &s.Changed }), shape: flag{}, always: true, about: "Whether the message changed something: false if these calls were suspended already, or if there was no suspension to end."},
		{key: "about", at: at(func(s *Suspended) any { return &s.About }), shape: text{}, always: true, about: "The calls that are or were suspended, the operator and the reason."},
		{key: "since", at: at(func(s *Suspended) any { return &s.Since }), shape: instant{}, about: "Begin of the suspension, in UTC by the server's clock. Absent if it is new, or if there was none."},
	},
}

// EncodeSuspension writes an operator's instruction. Text that is not UTF-8 is a *FieldError.
func EncodeSuspension(enc Encoding, s *Suspension) ([]byte, error) {
	return suspensionForm.table.write(document(nil).must("v", int64(Version)), s).encode(enc)
}

// DecodeSuspension reads an operator's instruction. An unknown key is an error, since it may be a mistyped scope. Every
// error is a *FieldError.
func DecodeSuspension(enc Encoding, data []byte) (*Suspension, error) {
	f, err := readDocument(enc, data, func(key string) bool { return key == "v" || suspensionForm.table.has(key) })
	if err != nil {
		return nil, err
	}
	s := new(Suspension)
	version := f.version()
	suspensionForm.table.read(f, s)
	if err := firstError(version, f.failure(), suspensionForm.table.check(s)); err != nil {
		return nil, err
	}
	named := s.Lane != "" || s.Producer != "" || s.CAID != ""
	switch {
	case len(f.unknown) > 0:
		return nil, &FieldError{Field: f.unknown[0], Problem: "is an unknown key", Fix: "use lane, producer, ca_id, all, operator and reason"}
	case !named && !s.All:
		return nil, &FieldError{Field: "all", Problem: "is missing, and there is no lane, producer or ca_id", Fix: "name lane, producer or ca_id, or set all to true"}
	case named && s.All:
		return nil, &FieldError{Field: "all", Problem: "is every call: leave out lane, producer and ca_id"}
	}
	return s, nil
}
