package policy

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Tags that cryptobyte does not name.
const (
	numericString   = cbasn1.Tag(18)
	universalString = cbasn1.Tag(28)
	bmpString       = cbasn1.Tag(30)
)

// decodeText reads the string of a subject attribute. It reads only bytes that every
// parser reads as the same text. Bytes outside of ASCII have no agreed meaning in a
// TeletexString, and few parsers read a UniversalString.
func decodeText(tag cbasn1.Tag, b []byte) (string, bool) {
	s := string(b)
	switch tag {
	case cbasn1.UTF8String:
		if !utf8.Valid(b) {
			return "", false
		}
	case cbasn1.PrintableString, cbasn1.IA5String:
		if !ascii(s) {
			return "", false
		}
	case numericString:
		if strings.Trim(s, "0123456789 ") != "" {
			return "", false
		}
	case cbasn1.T61String:
		// T.61, ASCII and Latin 1 agree on these characters.
		if strings.ContainsFunc(s, func(r rune) bool { return !printable(r) }) {
			return "", false
		}
	case bmpString:
		var ok bool
		if s, ok = decodeBMP(b); !ok {
			return "", false
		}
	default: // universalString among them
		return "", false
	}
	return s, s != "" && !strings.ContainsFunc(s, hidden)
}

// decodeBMP reads UTF-16 without surrogates, high byte first.
func decodeBMP(b []byte) (string, bool) {
	if len(b)%2 != 0 {
		return "", false
	}
	var out strings.Builder
	for i := 0; i < len(b); i += 2 {
		r := rune(b[i])<<8 | rune(b[i+1])
		if utf16.IsSurrogate(r) {
			return "", false
		}
		out.WriteRune(r)
	}
	return out.String(), true
}

// hidden reports a character that a person cannot see, or that is not text: a value with
// it looks like another value.
func hidden(r rune) bool {
	return r != ' ' && !unicode.IsGraphic(r) || r == utf8.RuneError || unicode.Is(unicode.Zs, r) && r != ' '
}

// printable reports whether r is in the repertoire of PrintableString (X.680 41.4).
func printable(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(" '()+,-./:=?", r)
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
