package entrustbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// packReader reads MessagePack into values. The decoder's own generic decoding is not used: it allocates by declared
// lengths, takes the last of equal keys, and recurses as deeply as a message nests.
type packReader struct {
	data []byte
	src  *bytes.Reader
	dec  *msgpack.Decoder
	body *body
}

func readMsgpack(b *body, data []byte) error {
	if utf16(data) {
		return &FieldError{Field: "body", Problem: "is UTF-16 text", Fix: "write JSON as UTF-8, or MessagePack", Undecodable: true}
	}
	r := packReader{data: data, src: bytes.NewReader(data), dec: msgpack.GetDecoder(), body: b}
	defer msgpack.PutDecoder(r.dec)
	r.dec.Reset(r.src) // a bytes.Reader is read without a buffer in between, so src tells where we are
	if err := r.message(); err != nil {
		return err
	}
	if r.src.Len() > 0 {
		return errBody("has bytes behind its MessagePack map")
	}
	return nil
}

// message reads the message itself.
func (r *packReader) message() error {
	code, err := r.dec.PeekCode()
	if err != nil {
		return errTruncated()
	}
	switch {
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		return errBody("is not a map but a list")
	case msgpcode.IsFixedNum(code) && len(r.data) > 1: // as ASCII text begins
		return errBody("is neither a JSON object nor a MessagePack map")
	default:
		v, err := r.value(maxDepth)
		if err == nil {
			err = errBody("is not a map but " + v.kind.String())
		}
		return err
	}
	n, err := r.dec.DecodeMapLen()
	if err != nil {
		return errTruncated()
	}
	for range n {
		key, err := r.key()
		if err != nil {
			return err
		}
		if key == nil || r.body.skips(key) {
			if err := r.skip(); err != nil {
				return err
			}
			continue
		}
		v, err := r.value(1)
		if err != nil {
			return err
		}
		put(r.body.fields, string(key), v)
	}
	return nil
}

// key reads a key: a string or, as old writers have it, bytes. It is nil for what can be no key of the contract.
func (r *packReader) key() ([]byte, error) {
	code, err := r.dec.PeekCode()
	if err != nil {
		return nil, errTruncated()
	}
	if !msgpcode.IsString(code) && !msgpcode.IsBin(code) {
		return nil, r.skip()
	}
	key, err := r.raw()
	if err != nil || len(key) > maxKeyLength || !utf8.Valid(key) {
		return nil, err
	}
	return key, nil
}

// skip passes over one value, of whatever size and depth.
func (r *packReader) skip() error {
	for left := uint64(1); left > 0; left-- {
		code, err := r.dec.PeekCode()
		if err != nil {
			return errTruncated()
		}
		n := 0
		switch {
		case msgpcode.IsString(code), msgpcode.IsBin(code):
			_, err = r.raw()
		case msgpcode.IsExt(code):
			if _, n, err = r.dec.DecodeExtHeader(); err == nil {
				_, err = r.next(n)
			}
		case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
			n, err = r.dec.DecodeArrayLen()
			left += uint64(max(n, 0))
		case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
			n, err = r.dec.DecodeMapLen()
			left += 2 * uint64(max(n, 0))
		default:
			r.body.budget++ // what is passed over costs nothing
			_, err = r.value(maxDepth)
		}
		var field *FieldError
		if errors.As(err, &field) {
			return field
		}
		if err != nil {
			return errTruncated()
		}
	}
	return nil
}

func (r *packReader) value(depth int) (value, error) {
	if err := r.body.take(); err != nil {
		return value{}, err
	}
	code, err := r.dec.PeekCode()
	if err != nil {
		return value{}, errTruncated()
	}
	switch {
	case code == msgpcode.Nil:
		return value{}, r.sound(r.dec.DecodeNil())
	case code == msgpcode.True, code == msgpcode.False:
		b, err := r.dec.DecodeBool()
		return value{kind: kindBool, flag: b}, r.sound(err)
	case code == msgpcode.Float, code == msgpcode.Double:
		f, err := r.dec.DecodeFloat64()
		return value{kind: kindFloat, float: f}, r.sound(err)
	case code == msgpcode.Uint64:
		n, err := r.dec.DecodeUint64()
		if n > 1<<63-1 {
			return value{kind: kindHuge}, r.sound(err)
		}
		return value{kind: kindInt, number: int64(n)}, r.sound(err)
	case msgpcode.IsFixedNum(code), code >= msgpcode.Uint8 && code <= msgpcode.Int64:
		n, err := r.dec.DecodeInt64()
		return value{kind: kindInt, number: n}, r.sound(err)
	case msgpcode.IsString(code):
		text, err := r.raw()
		return textValue(text), err
	case msgpcode.IsBin(code):
		b, err := r.raw()
		return value{kind: kindBytes, text: b}, err
	case msgpcode.IsExt(code):
		return r.extension()
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		return r.list(depth)
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		return r.fields(depth)
	}
	return value{}, errBody("is not MessagePack") // 0xc1, the one unused code
}

func (r *packReader) list(depth int) (value, error) {
	n, err := r.dec.DecodeArrayLen()
	if err != nil {
		return value{}, errTruncated()
	}
	v := value{kind: kindList} // grows as elements come, whatever n says
	if depth >= maxDepth {
		return v, errBody("nests too deeply")
	}
	for range n {
		item, err := r.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		v.list = append(v.list, item)
	}
	return v, nil
}

func (r *packReader) fields(depth int) (value, error) {
	n, err := r.dec.DecodeMapLen()
	if err != nil {
		return value{}, errTruncated()
	}
	if depth >= maxDepth {
		return value{}, errBody("nests too deeply")
	}
	if n > maxMapKeys {
		return value{}, errBody("has a map with too many keys")
	}
	v := value{kind: kindMap, fields: make(map[string]value, max(n, 0))}
	for range n {
		key, err := r.key()
		if err != nil {
			return value{}, err
		}
		item, err := r.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		if key == nil {
			v.flaw = flaw{"has a key that is not a string", ""}
			continue
		}
		put(v.fields, string(key), item)
	}
	return v, nil
}

// raw is the content of a string or of bytes, still inside the message.
func (r *packReader) raw() ([]byte, error) {
	n, err := r.dec.DecodeBytesLen()
	if err != nil {
		return nil, errTruncated()
	}
	return r.next(n)
}

func (r *packReader) next(n int) ([]byte, error) {
	if n < 0 || n > r.src.Len() {
		return nil, errTruncated()
	}
	start := len(r.data) - r.src.Len()
	if _, err := r.src.Seek(int64(n), io.SeekCurrent); err != nil {
		return nil, errTruncated()
	}
	return r.data[start : start+n : start+n], nil
}

// extension reads the three forms of the extension −1, the timestamp, and passes over any other.
func (r *packReader) extension() (value, error) {
	id, n, err := r.dec.DecodeExtHeader()
	if err != nil {
		return value{}, errTruncated()
	}
	b, err := r.next(n)
	if err != nil {
		return value{}, err
	}
	if id != -1 {
		return value{kind: kindExt}, nil
	}
	var sec int64
	var nsec uint32
	switch n {
	case 4:
		sec = int64(binary.BigEndian.Uint32(b))
	case 8:
		both := binary.BigEndian.Uint64(b)
		nsec, sec = uint32(both>>34), int64(both&(1<<34-1))
	case 12:
		nsec, sec = binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[4:]))
	default:
		return value{kind: kindExt}, nil
	}
	t := time.Unix(sec, int64(nsec)).UTC()
	if nsec >= 1e9 || !carriable(t) {
		return value{kind: kindExt}, nil
	}
	return value{kind: kindTime, time: t}, nil
}

// sound turns the decoder's error into ours: for a value of a known code it can only be that the bytes ran out.
func (r *packReader) sound(err error) error {
	if err != nil {
		return errTruncated()
	}
	return nil
}

func errTruncated() *FieldError { return errBody("ends in the middle of a MessagePack value") }
