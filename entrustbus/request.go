package entrustbus

import "slices"

// Kind is what a request asks for. It is the last token of the request's subject.
type Kind string

// The kinds of request. The stream takes no others, so a mistyped kind fails at its publisher.
const (
	KindIssue  Kind = "issue"
	KindRevoke Kind = "revoke"
	KindTrack  Kind = "track"
	KindCancel Kind = "cancel"
	// KindComplete and KindResolve are for operators: they end an order by hand.
	KindComplete Kind = "complete"
	KindResolve  Kind = "resolve"
)

// Valid reports whether k is one of the six kinds.
func (k Kind) Valid() bool { return slices.Contains(kinds, k) }

var kinds = []Kind{KindIssue, KindRevoke, KindTrack, KindCancel, KindComplete, KindResolve}

// ForProducers reports whether producers may make requests of this kind. Operators may make those of every kind.
func (k Kind) ForProducers() bool {
	return k.Valid() && k != KindComplete && k != KindResolve
}

// blank is an empty request of the kind; nil for an unknown kind.
func (k Kind) blank() Request {
	switch k {
	case KindIssue:
		return new(Issue)
	case KindRevoke:
		return new(Revoke)
	case KindTrack:
		return new(Track)
	case KindCancel:
		return new(Cancel)
	case KindComplete:
		return new(Complete)
	case KindResolve:
		return new(Resolve)
	}
	return nil
}

// Request is one of *Issue, *Revoke, *Track and *Cancel, and for operators of *Complete and *Resolve.
type Request interface {
	// Kind is the kind of the request.
	Kind() Kind
	// OrderID is the id that the producer gave to the request.
	OrderID() string
	// LabelMap is the request's labels, nil without any. It is the request's own map, not a copy.
	LabelMap() map[string]string
	// Validate reports the first thing about the request that the contract forbids, as a *FieldError. It parses and
	// verifies a certificate request once and keeps it, so it must not run beside other uses of the same request.
	Validate() error
	// Warnings are findings of DecodeRequest that do not refuse the request, one sentence each: unknown keys near known ones.
	// They belong into the result. Empty for a request that was not decoded.
	Warnings() []string

	form() *form
	notice(warnings []string)
}

// form is the contract of one kind of request, except the rules in its Validate.
type form struct {
	title, about string
	table        table
	exactlyOne   []string // keys of which a request gives one
	atMostOne    []string
}

// common are the keys that every request may carry and no Go type holds.
var commonKeys = []string{"v", "kind"}

// knows reports whether a key is one of the kind's.
func (f *form) knows(key string) bool { return key == "v" || key == "kind" || f.table.has(key) }

// notes is what decoding leaves in a request.
type notes struct{ warnings []string }

// Warnings are those of Request.
func (n *notes) Warnings() []string { return n.warnings }

func (n *notes) notice(warnings []string) { n.warnings = warnings }

// Bounds of requests. A request beyond one of them is refused with a *FieldError that names the field.
const (
	MaxBodyBytes          = 1 << 20           // one message
	MaxCSRBytes           = 64 << 10          // a certificate request or certificate, in either form
	MaxLabels             = 64                // entries of labels
	MaxLabelKeyBytes      = 128               // one key of labels or properties, one type of subject_variables
	MaxLabelValueBytes    = 1024              // one value of labels, properties or subject_variables
	MaxSANs               = 500               // entries of sans, names of one certificate request
	MaxSANBytes           = 2048              // one entry of sans
	MaxNameBytes          = 256               // ca_id, profile_id, common_name
	MaxTrackingIDBytes    = 512               // tracking_id
	MaxSubjectDNBytes     = 1024              // subject_dn
	MaxCommentBytes       = 512               // comment
	MaxSerialBits         = 160               // a serial number: 20 octets, RFC 5280 4.1.2.2
	MaxValiditySeconds    = 100 * 366 * 86400 // validity_seconds, max_validity_seconds: a hundred years
	MaxPeriodBytes        = 128               // validity_period
	MaxPollMaxWaitSeconds = 30 * 86400        // poll_max_wait_seconds: 30 days; the worker may allow less
	MaxProperties         = 64                // entries of properties, values of one list there
	MaxSubjectVariables   = 64                // entries of subject_variables
	MaxExtensions         = 32                // entries of extensions
	MaxExtensionBytes     = 8 << 10           // one value of extensions
	MaxEKUs               = 32                // entries of ekus
	MaxOIDBytes           = 128               // one object identifier
)

// The fields that several kinds have.

const (
	tokenPattern = "^[A-Za-z0-9_-]{1,64}$"
	inBytes      = " Length counts bytes of UTF-8."
)

var (
	tokenShape = text{rule: checkToken, pattern: tokenPattern}
	nameShape  = text{most: MaxNameBytes, rule: func(key, v string) error { return checkName(key, v, MaxNameBytes) }}
	csrShape   = text{most: MaxCSRBytes, pem: &requestThing}
)

func checkToken(key, v string) error {
	if !ValidToken(v) {
		return errToken(key)
	}
	return nil
}

func idField[T any](get func(*T) any) field {
	return field{
		key: "id", at: at(get), shape: tokenShape, required: true, digest: uncounted,
		about: "Id of the request, unique among all requests of its producer, of every kind. The same id with the same content again is a duplicate and changes nothing.",
	}
}

func caField[T any](get func(*T) any) field {
	return field{key: "ca_id", at: at(get), shape: nameShape, about: "The gateway's certificate authority. Absent: the worker's configured one." + inBytes}
}

func waitField[T any](get func(*T) any) field {
	return field{
		key: "poll_max_wait_seconds", at: at(get), shape: seconds{MaxPollMaxWaitSeconds},
		about: "How long the order may wait for approval, in seconds. Absent: the worker's configured time. Written without fraction and exponent.",
	}
}

func strictField[T any](get func(*T) any) field {
	return field{
		key: "strict", at: at(get), shape: flag{}, digest: uncounted,
		about: "Refuses the request for an unknown key that is near a known one, instead of a warning in the result.",
	}
}

func labelsField[T any](get func(*T) any) field {
	return field{
		key: "labels", at: at(get), shape: labels{}, digest: uncounted,
		about: "Comes back in the result; the worker does not read it. It does not count when two requests are compared. Lengths count bytes of UTF-8.",
	}
}

func orderField[T any](get func(*T) any, about string) field {
	return field{key: "order", at: at(get), shape: tokenShape, required: true, about: about}
}

// checkOrder refuses a request that is about itself.
func checkOrder(id, order string) error {
	if order != id {
		return nil
	}
	return &FieldError{
		Field:   "order",
		Problem: "is the id of this request",
		Fix:     "give the id of the order, and a new id to this request",
	}
}

// strictly makes an error of the first warning.
func strictly(unknown []string, f *form) error {
	known := append(f.table.keys(), commonKeys...)
	for _, key := range unknown {
		if near := nearKey(key, known); near != "" {
			return &FieldError{Field: key, Problem: "is an unknown key, and the request is strict", Fix: "did you mean \"" + near + "\"?"}
		}
	}
	return nil
}

// finish is what DecodeRequest does with what was read.
func (f *form) finish(r Request, reader *fieldReader) error {
	if len(reader.unknown) == 0 {
		return nil
	}
	if strict := reader.fields["strict"]; strict.flag && f.table.has("strict") {
		return strictly(reader.unknown, f)
	}
	r.notice(warningsOf(reader.unknown, append(f.table.keys(), commonKeys...)))
	return nil
}
