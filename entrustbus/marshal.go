package entrustbus

// The methods of encoding/json: Marshal writes what EncodeRequest, EncodeResult and their like write, and Unmarshal reads
// as DecodeRequest, DecodeResult and their like do, so that the tables of fields are the only words on the wire.
// Unmarshal replaces the whole value, and leaves it alone beside an error.

// MarshalJSON is EncodeRequest.
func (r Issue) MarshalJSON() ([]byte, error) { return EncodeRequest(EncodingJSON, &r) }

// MarshalJSON is EncodeRequest.
func (r Revoke) MarshalJSON() ([]byte, error) { return EncodeRequest(EncodingJSON, &r) }

// MarshalJSON is EncodeRequest.
func (r Track) MarshalJSON() ([]byte, error) { return EncodeRequest(EncodingJSON, &r) }

// MarshalJSON is EncodeRequest.
func (r Cancel) MarshalJSON() ([]byte, error) { return EncodeRequest(EncodingJSON, &r) }

// MarshalJSON is EncodeRequest.
func (r Complete) MarshalJSON() ([]byte, error) { return EncodeRequest(EncodingJSON, &r) }

// MarshalJSON is EncodeRequest.
func (r Resolve) MarshalJSON() ([]byte, error) { return EncodeRequest(EncodingJSON, &r) }

// MarshalJSON is EncodeResult. Sequence is not on the wire.
func (r Result) MarshalJSON() ([]byte, error) { return EncodeResult(EncodingJSON, &r) }

// MarshalJSON is EncodeRefusal.
func (r Refusal) MarshalJSON() ([]byte, error) { return EncodeRefusal(&r) }

// MarshalJSON is EncodeEvent.
func (e Event) MarshalJSON() ([]byte, error) { return EncodeEvent(&e) }

// MarshalJSON is EncodeAnswer.
func (c CA) MarshalJSON() ([]byte, error) { return EncodeAnswer(EncodingJSON, &c) }

// MarshalJSON is EncodeAnswer.
func (c Check) MarshalJSON() ([]byte, error) { return EncodeAnswer(EncodingJSON, &c) }

// MarshalJSON is EncodeAnswer.
func (p PolicyCheck) MarshalJSON() ([]byte, error) { return EncodeAnswer(EncodingJSON, &p) }

// UnmarshalJSON is DecodeRequest.
func (r *Issue) UnmarshalJSON(data []byte) error { return unmarshal(r, data) }

// UnmarshalJSON is DecodeRequest.
func (r *Revoke) UnmarshalJSON(data []byte) error { return unmarshal(r, data) }

// UnmarshalJSON is DecodeRequest.
func (r *Track) UnmarshalJSON(data []byte) error { return unmarshal(r, data) }

// UnmarshalJSON is DecodeRequest.
func (r *Cancel) UnmarshalJSON(data []byte) error { return unmarshal(r, data) }

// UnmarshalJSON is DecodeRequest.
func (r *Complete) UnmarshalJSON(data []byte) error { return unmarshal(r, data) }

// UnmarshalJSON is DecodeRequest.
func (r *Resolve) UnmarshalJSON(data []byte) error { return unmarshal(r, data) }

// UnmarshalJSON is DecodeResult.
func (r *Result) UnmarshalJSON(data []byte) error {
	decoded, err := DecodeResult(EncodingJSON, data)
	if err == nil {
		*r = *decoded
	}
	return err
}

// UnmarshalJSON is DecodeRefusal.
func (r *Refusal) UnmarshalJSON(data []byte) error {
	decoded, err := DecodeRefusal(data)
	if err == nil {
		*r = *decoded
	}
	return err
}

// UnmarshalJSON is DecodeEvent.
func (e *Event) UnmarshalJSON(data []byte) error {
	decoded, err := DecodeEvent(data)
	if err == nil {
		*e = *decoded
	}
	return err
}

// UnmarshalJSON is DecodeAnswer.
func (c *CA) UnmarshalJSON(data []byte) error { return unmarshalAnswer(c, data) }

// UnmarshalJSON is DecodeAnswer.
func (c *Check) UnmarshalJSON(data []byte) error { return unmarshalAnswer(c, data) }

// UnmarshalJSON is DecodeAnswer.
func (p *PolicyCheck) UnmarshalJSON(data []byte) error { return unmarshalAnswer(p, data) }

func unmarshalAnswer[T any](to *T, data []byte) error {
	decoded := new(T)
	err := DecodeAnswer(EncodingJSON, data, decoded)
	if err == nil {
		*to = *decoded
	}
	return err
}

// pointer is a request's pointer type.
type pointer[T any] interface {
	*T
	Request
}

func unmarshal[T any, P pointer[T]](r P, data []byte) error {
	decoded, err := DecodeRequest(r.Kind(), EncodingJSON, data)
	if err == nil {
		*r = *decoded.(P)
	}
	return err
}
