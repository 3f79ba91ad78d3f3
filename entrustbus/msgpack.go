package entrustbus

import (
	"bytes"
	"encoding/binary"
	"io"
	"time"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// packReader reads MessagePack into values. The decoder's own generic decoding is not used: it allocates by declared
// lengths and takes the last of equal keys.
type packReader struct {
	data   []byte
	src    *bytes.Reader
	dec    *msgpack.Decoder
	budget budget
}

func readMsgpack(data []byte) (value, error) {
	r := packReader{data: data, src: bytes.NewReader(data), dec: msgpack.GetDecoder(), budget: maxValues}
	defer msgpack.PutDecoder(r.dec)
	r.dec.Reset(r.src) // a bytes.Reader is read without a buffer in between, so src tells where we are
	v, err := r.value(0)
	if err != nil {
		return value{}, err
	}
	if r.src.Len() > 0 {
		return value{}, errBody("has bytes behind its MessagePack map")
	}
	return v, nil
}

func (r *packReader) value(depth int) (value, error) {
	if err := r.budget.take(); err != nil {
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
		_, err := r.dec.DecodeFloat64()
		return value{kind: kindFloat}, r.sound(err)
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
		if err == nil && !utf8.Valid(text) {
			err = errBody("holds a string that is not UTF-8")
		}
		return value{kind: kindText, text: text}, err
	case msgpcode.IsBin(code):
		b, err := r.raw()
		return value{kind: kindBytes, text: b}, err
	case msgpcode.IsExt(code):
		return r.timestamp()
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
	if depth >= maxDepth {
		return value{}, errBody("nests too deeply")
	}
	v := value{kind: kindList} // grows as elements come, whatever n says
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
	v := value{kind: kindMap, fields: make(map[string]value, n)}
	for range n {
		code, err := r.dec.PeekCode()
		if err != nil {
			return value{}, errTruncated()
		}
		if !msgpcode.IsString(code) {
			return value{}, errBody("has a map key that is no string")
		}
		key, err := r.raw()
		if err != nil {
			return value{}, err
		}
		if len(key) > maxKeyLength || !utf8.Valid(key) {
			return value{}, errBody("has a map key that is too long or not UTF-8")
		}
		item, err := r.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		if err := put(v.fields, string(key), item); err != nil {
			return value{}, err
		}
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
	return r.data[start : start+n], nil
}

// timestamp reads the three forms of the extension −1.
func (r *packReader) timestamp() (value, error) {
	id, n, err := r.dec.DecodeExtHeader()
	if err != nil {
		return value{}, errTruncated()
	}
	b, err := r.next(n)
	if err != nil {
		return value{}, err
	}
	if id != -1 {
		return value{}, errBody("holds a MessagePack extension other than the timestamp")
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
		return value{}, errBody("holds a timestamp of an impossible length")
	}
	t := time.Unix(sec, int64(nsec)).UTC()
	if nsec >= 1e9 || !carriable(t) {
		return value{}, errBody("holds a timestamp that is no time of the years 1 to 9999")
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
