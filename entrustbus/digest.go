package entrustbus

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// Digest is a SHA-256 over the content of a request. It tells the same request published again from another request under
// the same id. It covers the kind and the fields, except `id`, `v`, `labels` and `strict`, and `common_name`, which can only
// repeat the certificate request. The form does not count: encoding, order of keys, a certificate request as PEM or DER, the
// forms and spellings of a serial number, the spelling of a reason. `sans` and `ekus` are sets, so neither order nor
// repetition counts. A field that is not given differs from a field with the worker's default.
//
// The error is the *FieldError of Validate for a certificate request, name or serial number that cannot be read.
func Digest(r Request) ([32]byte, error) {
	content, err := r.form().table.content(appendPart([]byte("entrust-request-1\n"), "kind", string(r.Kind())), r)
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(content), nil
}

// appendPart writes a name and a value, each behind its length, so that no two contents run into the same bytes.
func appendPart(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

func appendNumber(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return appendPart(b, name, strconv.FormatInt(n, 10))
}
