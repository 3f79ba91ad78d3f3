package entrustbus

// Kind is what a request asks for. It is the last token of the request's subject.
type Kind string

// The kinds of request. There are no others: the stream takes none, so a mistyped kind fails at its publisher.
const (
	KindIssue  Kind = "issue"
	KindRevoke Kind = "revoke"
	KindTrack  Kind = "track"
	KindCancel Kind = "cancel"
)

// Valid reports whether k is one of the four kinds.
func (k Kind) Valid() bool {
	switch k {
	case KindIssue, KindRevoke, KindTrack, KindCancel:
		return true
	}
	return false
}

// Request is one of *Issue, *Revoke, *Track and *Cancel.
type Request interface {
	// Kind is the kind of the request.
	Kind() Kind
	// OrderID is the id that the producer gave the request.
	OrderID() string
	// LabelMap is the request's labels, nil without any. It is the request's own map, not a copy.
	LabelMap() map[string]string
	// Validate reports the first thing about the request that the contract forbids, as a *FieldError. It parses and
	// verifies a certificate request once and keeps it, so it must not run beside other uses of the same request.
	Validate() error

	appendFields(document) document
	readFields(*fieldReader)
	appendContent([]byte) ([]byte, error)
}

// Bounds of requests. A request beyond one of them is refused with a *FieldError that names the field.
const (
	MaxBodyBytes          = 1 << 20           // one message
	MaxCSRBytes           = 64 << 10          // a certificate request or certificate, in either form
	MaxLabels             = 64                // entries of labels
	MaxLabelKeyBytes      = 128               // one key of labels
	MaxLabelValueBytes    = 1024              // one value of labels
	MaxSANs               = 500               // entries of sans, names of one certificate request
	MaxSANBytes           = 2048              // one entry of sans
	MaxNameBytes          = 256               // ca_id, profile_id, common_name
	MaxTrackingIDBytes    = 512               // tracking_id
	MaxSubjectDNBytes     = 1024              // subject_dn
	MaxCommentBytes       = 512               // comment
	MaxSerialBits         = 160               // a serial number: 20 octets, RFC 5280 4.1.2.2
	MaxValiditySeconds    = 100 * 366 * 86400 // validity_seconds: a hundred years
	MaxPollMaxWaitSeconds = 30 * 86400        // poll_max_wait_seconds: 30 days; the worker may allow less
)
