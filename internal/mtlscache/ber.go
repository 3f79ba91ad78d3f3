package mtlscache

import (
	"encoding/asn1"
	"errors"
)

// maxDepth bounds the nesting of elements. A PKCS#12 file needs about fifteen
// levels.
const maxDepth = 40

var errBER = errors.New("is not ASN.1, or is damaged")

// toDER rewrites one BER element with the lengths of DER. Indefinite or too long
// lengths become definite and short. An octet string in pieces becomes one piece
// (X.690, sections 8.1.3 and 8.7.3 against 10.1 and 10.2). Everything else stays
// unchanged, also inside octet strings. DER stays DER.
//
// toDER cannot recognise an octet string in pieces behind an implicit tag: that
// needs the schema. joined reads it.
func toDER(ber []byte) ([]byte, error) {
	der, rest, err := element(ber, maxDepth)
	if err != nil || len(rest) > 0 {
		return nil, errBER
	}
	return der, nil
}

// element rewrites the first element of in, and returns the bytes after it.
func element(in []byte, depth int) (der, rest []byte, err error) {
	tag, length, body, err := header(in)
	if err != nil || depth == 0 {
		return nil, nil, errBER
	}
	constructed := tag[0]&0x20 != 0
	if length >= 0 {
		body, rest = body[:length], body[length:]
	}
	if !constructed {
		return appendElement(tag, body), rest, nil
	}

	var content []byte
	for length < 0 || len(body) > 0 {
		if length < 0 && len(body) >= 2 && body[0] == 0 && body[1] == 0 {
			rest = body[2:]
			break
		}
		var child []byte
		if child, body, err = element(body, depth-1); err != nil {
			return nil, nil, err
		}
		content = append(content, child...)
	}
	if tag[0] == 0x20|asn1.TagOctetString {
		if content, err = joined(content); err != nil {
			return nil, nil, err
		}
		tag = []byte{asn1.TagOctetString}
	}
	return appendElement(tag, content), rest, nil
}

// joined returns the content of an octet string that comes in pieces, each a
// primitive octet string in DER.
func joined(pieces []byte) ([]byte, error) {
	var content []byte
	for len(pieces) > 0 {
		tag, length, body, err := header(pieces)
		if err != nil || len(tag) != 1 || tag[0] != asn1.TagOctetString {
			return nil, errBER
		}
		content = append(content, body[:length]...)
		pieces = body[length:]
	}
	return content, nil
}

// header splits in into a tag, a length, and the bytes after the length. A length
// of -1 is indefinite; any other is at most len(body).
func header(in []byte) (tag []byte, length int, body []byte, err error) {
	end := 1
	if len(in) > 0 && in[0]&0x1f == 0x1f { // a tag of several bytes
		for end < len(in) && in[end]&0x80 != 0 {
			end++
		}
		end++
	}
	if len(in) <= end || in[0] == 0 { // zero: the end of contents, which is no element
		return nil, 0, nil, errBER
	}
	tag, first, body := in[:end], in[end], in[end+1:]
	switch {
	case first == 0x80:
		if tag[0]&0x20 == 0 {
			return nil, 0, nil, errBER
		}
		return tag, -1, body, nil
	case first < 0x80:
		length = int(first)
	default:
		n := int(first & 0x7f)
		if n > len(body) {
			return nil, 0, nil, errBER
		}
		for _, b := range body[:n] {
			if length = length<<8 | int(b); length > maxFile {
				return nil, 0, nil, errBER
			}
		}
		body = body[n:]
	}
	if length > len(body) {
		return nil, 0, nil, errBER
	}
	return tag, length, body, nil
}

// appendElement returns an element with the shortest length.
func appendElement(tag, content []byte) []byte {
	der := append(make([]byte, 0, len(tag)+5+len(content)), tag...)
	n := len(content)
	switch {
	case n < 0x80:
		der = append(der, byte(n))
	case n < 1<<8:
		der = append(der, 0x81, byte(n))
	case n < 1<<16:
		der = append(der, 0x82, byte(n>>8), byte(n))
	default:
		der = append(der, 0x83, byte(n>>16), byte(n>>8), byte(n)) // files end long before 16 MiB
	}
	return append(der, content...)
}
