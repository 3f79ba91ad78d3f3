package entrustbus

import (
	"bytes"
	"fmt"
	"mime"
	"strings"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
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
// begins with {, blanks and a byte-order mark aside, is JSON, since no MessagePack map begins so. The names that MessagePack had before it
// was registered (application/x-msgpack, application/vnd.msgpack) are taken as well. Anything else is a *FieldError for
// Content-Type, as are a charset other than UTF-8, and a body that can only be of the other encoding. The encoding beside
// an error is that of the body, so that its id can be read.
func EncodingOf(contentType string, body []byte) (Encoding, error) {
	seen := seenEncoding(body)
	if strings.TrimSpace(contentType) == "" {
		return seen, nil
	}
	refused := &FieldError{
		Field:       HeaderContentType,
		Problem:     "is neither application/msgpack nor application/json",
		Fix:         "set one of these, or leave the header out",
		Undecodable: true,
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return seen, refused
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		refused.Problem = "names a charset other than UTF-8"
		return seen, refused
	}
	switch media {
	case "application/json":
		if packedMap(body) {
			refused.Problem, refused.Fix = "says JSON, and the body is MessagePack", "set application/msgpack, or leave the header out"
			return seen, refused
		}
		return EncodingJSON, nil
	case "application/msgpack", "application/x-msgpack", "application/vnd.msgpack":
		if seen == EncodingJSON {
			refused.Problem, refused.Fix = "says MessagePack, and the body is JSON", "set application/json, or leave the header out"
			return seen, refused
		}
		return EncodingMsgpack, nil
	}
	return seen, refused
}

// seenEncoding tells the encoding of a body without a header.
func seenEncoding(body []byte) Encoding {
	if bytes.HasPrefix(body, byteOrderMark) || bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return EncodingJSON // no MessagePack map begins so
	}
	return EncodingMsgpack
}

// packedMap reports whether a body begins as a MessagePack map does. No JSON begins so.
func packedMap(body []byte) bool {
	return len(body) > 0 && (msgpcode.IsFixedMap(body[0]) || body[0] == msgpcode.Map16 || body[0] == msgpcode.Map32)
}

// EncodeRequest writes a request with its `v` and `kind`, keys in the contract's order and labels sorted, so equal
// requests have equal bytes. It does not validate; text that is not UTF-8 is a *FieldError.
func EncodeRequest(enc Encoding, r Request) ([]byte, error) {
	d := document(nil).must("v", int64(Version)).must("kind", string(r.Kind()))
	return r.form().table.write(d, r).encode(enc)
}

// EncodeResult writes a result, keys in the contract's order, times in UTC. It does not validate; text that is not
// UTF-8 is a *FieldError.
func EncodeResult(enc Encoding, r *Result) ([]byte, error) {
	return resultForm.table.write(nil, r).encode(enc)
}

// DecodeRequest reads a request that came on the subject of this kind, and validates it. Every error is a *FieldError
// that names the key, or "body".
//
// What is wrong with one key is an error about this key; what stands under unknown keys is skipped, whatever it is. Nil,
// empty strings and empty lists count as not given. Other software's ways to write the same are taken where they can mean
// one thing only: bytes packed as a string and the reverse in MessagePack, a byte-order mark before JSON, a certificate
// request in another form. A value that could mean two things is refused with a hint. Work and memory grow with the length
// of data only, whatever lengths it declares.
//
// Beside an error that is about one field (FieldError.Undecodable false), and beside one about `v`, the request is
// returned as far as it could be read, so that an answer can be addressed: check its OrderID with ValidToken first. Beside
// an error about the body it is returned if an id was read before the body went wrong. A request whose keys are read
// without an error may have Warnings.
func DecodeRequest(kind Kind, enc Encoding, data []byte) (Request, error) {
	r := kind.blank()
	if r == nil {
		return nil, &FieldError{Field: "kind", Problem: "is an unknown request kind", Undecodable: true}
	}
	form := r.form()
	f, err := readDocument(enc, data, form.knows)
	version, kindErr := f.version(), f.kind(kind)
	form.table.read(f, r)
	if err != nil {
		if !ValidToken(r.OrderID()) {
			r = nil
		}
		return r, err
	}
	if err := firstError(version, kindErr, f.failure()); err != nil {
		return r, err
	}
	return r, firstError(form.finish(r, f), r.Validate())
}

// DecodeResult reads a result. Every error is a *FieldError, and no result is returned beside it. An outcome or a class of
// error that this version of the contract does not know is such an error.
func DecodeResult(enc Encoding, data []byte) (*Result, error) {
	f, err := readDocument(enc, data, resultForm.knows)
	if err != nil {
		return nil, err
	}
	r := new(Result)
	version := f.version()
	resultForm.table.read(f, r)
	if err := firstError(version, f.failure(), r.validate()); err != nil {
		return nil, err
	}
	return r, nil
}
