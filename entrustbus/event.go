package entrustbus

import "time"

// Event reports that a certificate of a CA was issued, revoked or held, by any client of the gateway. Workers with gateway.feed
// read it from the gateway's certificate events and publish it on Subjects.Event, as JSON, once for each ID. The events of a
// CA come in the order in which the gateway lists them.
type Event struct {
	// Version is the contract's version, Version.
	Version int `json:"v"`
	// ID is unique for the CA; the header HeaderEventID repeats it.
	ID string `json:"id"`
	// CAID is the gateway's certificate authority.
	CAID string `json:"ca_id"`
	// Action is the gateway's own word, such as issued, revoked or held. There may be others.
	Action string `json:"action"`
	// HappenedAt is the time of the event by the gateway's clock; zero if the gateway does not give it.
	HappenedAt time.Time `json:"happened_at,omitzero"`
	// Serial is the certificate's serial number in lower-case hexadecimal, and SerialDecimal the same in decimal; empty if
	// the gateway does not give it.
	Serial        string `json:"serial,omitempty"`
	SerialDecimal string `json:"serial_decimal,omitempty"`
	// Reason and Detail are the gateway's own texts.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	// CertificatePEM is the certificate; empty if the gateway does not give it.
	CertificatePEM string `json:"certificate_pem,omitempty"`
}

var eventForm = form{
	title: "Event",
	about: "Reports an event of a certificate of a CA: issued, revoked, held. Published to <prefix>.event.<ca> as JSON by workers with gateway.feed, once for each id. Later versions may add keys.",
	table: table{
		{key: "v", at: at(func(e *Event) any { return &e.Version }), shape: version{}, always: true, about: "Version of the contract."},
		{key: "id", at: at(func(e *Event) any { return &e.ID }), shape: tokenShape, always: true, about: "Id of the event, unique for its CA."},
		{key: "ca_id", at: at(func(e *Event) any { return &e.CAID }), shape: text{}, always: true, about: "The gateway's certificate authority."},
		{key: "action", at: at(func(e *Event) any { return &e.Action }), shape: text{}, always: true, about: "The gateway's own word, such as issued, revoked or held."},
		{key: "happened_at", at: at(func(e *Event) any { return &e.HappenedAt }), shape: instant{}, about: "Time of the event, in UTC by the gateway's clock. Absent if the gateway does not give it."},
		{key: "serial", at: at(func(e *Event) any { return &e.Serial }), shape: text{pattern: "^[0-9a-f]+$"}, about: "Serial number in lower-case hexadecimal."},
		{key: "serial_decimal", at: at(func(e *Event) any { return &e.SerialDecimal }), shape: text{pattern: "^[0-9]+$"}, about: "The same in decimal."},
		{key: "reason", at: at(func(e *Event) any { return &e.Reason }), shape: text{}, about: "The gateway's reason, for example of a revocation."},
		{key: "detail", at: at(func(e *Event) any { return &e.Detail }), shape: text{}, about: "The gateway's own words."},
		{key: "certificate_pem", at: at(func(e *Event) any { return &e.CertificatePEM }), shape: text{}, about: "The certificate in PEM. Absent if the gateway does not give it."},
	},
}

// EncodeEvent writes an event as JSON, the one encoding that it has. It does not validate; text that is not UTF-8, and a
// time that RFC 3339 cannot express, are a *FieldError.
func EncodeEvent(e *Event) ([]byte, error) {
	return eventForm.table.write(nil, e).encode(EncodingJSON)
}

// DecodeEvent reads an event. Every error is a *FieldError, and no event is returned beside it.
func DecodeEvent(data []byte) (*Event, error) {
	f, err := readDocument(EncodingJSON, data, eventForm.knows)
	if err != nil {
		return nil, err
	}
	e := new(Event)
	version := f.version()
	eventForm.table.read(f, e)
	if err := firstError(version, f.failure()); err != nil {
		return nil, err
	}
	if !ValidToken(e.ID) {
		return nil, errToken("id")
	}
	return e, nil
}
