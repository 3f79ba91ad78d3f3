package entrustbus

import (
	"fmt"
	"mime"
	"strings"
)

// Encoding is how a message is written. The zero value is MessagePack.
type Encoding int

// The encodings. A result comes in the encoding of its request.
const (
	EncodingMsgpack Encoding = iota
	EncodingJSON
)

// ContentType is the value of the Content-Type header: application/msgpack or application/json.
func (e Encoding) ContentType() string {
	if e == EncodingJSON {
		return "application/json"
	}
	return "application/msgpack"
}

// String is "msgpack" or "json".
func (e Encoding) String() string {
	switch e {
	case EncodingMsgpack:
		return "msgpack"
	case EncodingJSON:
		return "json"
	}
	return fmt.Sprintf("Encoding(%d)", int(e))
}

// EncodingOf tells the encoding of a message from its Content-Type header or, without one, from its body: one that
// begins with {, blanks aside, is JSON, since no MessagePack map begins so. The names that MessagePack had before it
// was registered (application/x-msgpack, application/vnd.msgpack) are taken as well. Anything else is a *FieldError for
// Content-Type, as is a charset other than UTF-8.
func EncodingOf(contentType string, body []byte) (Encoding, error) {
	if strings.TrimSpace(contentType) == "" {
		for _, c := range body {
			switch c {
			case ' ', '\t', '\r', '\n':
				continue
			case '{':
				return EncodingJSON, nil
			}
			break
		}
		return EncodingMsgpack, nil
	}
	refused := &FieldError{
		Field:       HeaderContentType,
		Problem:     "is neither application/msgpack nor application/json",
		Fix:         "set one of these, or leave the header out",
		Undecodable: true,
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, refused
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		refused.Problem = "names a charset other than UTF-8"
		return 0, refused
	}
	switch media {
	case "application/json":
		return EncodingJSON, nil
	case "application/msgpack", "application/x-msgpack", "application/vnd.msgpack":
		return EncodingMsgpack, nil
	}
	return 0, refused
}

// EncodeRequest writes a request with its `v` and `kind`, keys in the contract's order and labels sorted, so equal
// requests have equal bytes. It does not validate; text that is not UTF-8 is a *FieldError.
func EncodeRequest(enc Encoding, r Request) ([]byte, error) {
	return r.appendFields(document(nil).
		must("v", int64(Version)).
		must("kind", string(r.Kind()))).encode(enc)
}

// EncodeResult writes a result, keys in the contract's order, times in UTC. It does not validate; text that is not
// UTF-8 is a *FieldError.
func EncodeResult(enc Encoding, r *Result) ([]byte, error) {
	return r.appendFields(nil).encode(enc)
}

// DecodeRequest reads a request that came on the subject of this kind, and validates it. Every error is a *FieldError
// that names the key, or "body".
//
// Reading is strict: one map with string keys, none twice, nothing behind it, bounded in size, depth and number of
// values; a value of the wrong type is refused, never converted. Unknown keys are ignored, empty strings and lists count
// as not given. Work and memory grow with the length of data only, whatever lengths it declares.
//
// Beside an error that is about one field (FieldError.Undecodable false), and beside one about `v`, the request is
// returned as far as it could be read, so that an answer can be addressed. Check its OrderID with ValidToken first.
func DecodeRequest(kind Kind, enc Encoding, data []byte) (Request, error) {
	var r Request
	switch kind {
	case KindIssue:
		r = new(Issue)
	case KindRevoke:
		r = new(Revoke)
	case KindTrack:
		r = new(Track)
	case KindCancel:
		r = new(Cancel)
	default:
		return nil, &FieldError{Field: "kind", Problem: "is no kind of request", Undecodable: true}
	}
	f, err := readDocument(enc, data)
	if err != nil {
		return nil, err
	}
	version := f.version()
	kindErr := f.kind(kind)
	r.readFields(f)
	if err := firstError(version, kindErr, f.failure()); err != nil {
		return r, err
	}
	return r, r.Validate()
}

// DecodeResult reads a result, as strictly as DecodeRequest. Every error is a *FieldError, and no result is returned
// beside it. An outcome or a class of error that this version of the contract does not know is such an error.
func DecodeResult(enc Encoding, data []byte) (*Result, error) {
	f, err := readDocument(enc, data)
	if err != nil {
		return nil, err
	}
	r := new(Result)
	version := f.version()
	r.readFields(f)
	if err := firstError(version, f.failure(), r.validate()); err != nil {
		return nil, err
	}
	return r, nil
}
