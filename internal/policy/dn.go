package policy

import (
	"encoding/hex"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// readDN reads a distinguished name (RFC 4514). It is stricter than the RFC: the gateway
// has its own parser, so readDN refuses text that two parsers may understand differently.
// It also refuses quotes, semicolons between parts, and an = inside a value without a
// preceding backslash.
func readDN(s string) ([]attribute, error) {
	var all []attribute
	for {
		a, rest, err := readPart(s)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
		if rest == "" {
			return all, nil
		}
		s = rest[1:] // , or +
	}
}

// readPart reads one attribute. rest begins with the separator after it.
func readPart(s string) (a attribute, rest string, err error) {
	key, s, ok := strings.Cut(s, "=")
	key = strings.Trim(key, " ")
	if len(key) > 4 && strings.EqualFold(key[:4], "oid.") {
		key = key[4:]
	}
	if a.oid = named(attributeOIDs, key); !ok || a.oid == "" {
		return a, "", cannot("an attribute of subject_dn")
	}
	s = strings.TrimLeft(s, " ")
	var text string
	if strings.HasPrefix(s, "#") {
		end := len(s)
		if i := strings.IndexAny(s, ",+"); i >= 0 {
			end = i
		}
		text, ok = decodeHex(strings.TrimRight(s[1:end], " "))
		rest = s[end:]
	} else {
		text, rest, ok = unescape(s)
	}
	if a.value = text; !ok || text == "" || strings.ContainsFunc(text, hidden) {
		return a, "", cannot("the value of subject_dn's attribute " + attributeName(a.oid))
	}
	return a, rest, nil
}

// decodeHex reads a value given as the hexadecimal of its DER.
func decodeHex(s string) (string, bool) {
	der, err := hex.DecodeString(s)
	in := cryptobyte.String(der)
	var value cryptobyte.String
	var tag cbasn1.Tag
	if err != nil || !in.ReadAnyASN1(&value, &tag) || !in.Empty() {
		return "", false
	}
	return decodeText(tag, value)
}

// unescape reads a value up to the first separator without a preceding backslash.
func unescape(s string) (text, rest string, ok bool) {
	var b strings.Builder
	kept := 0 // length of b without trailing blanks
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ',', '+':
			return b.String()[:kept], s[i:], true
		case '"', ';', '<', '>', '=', 0:
			return "", "", false
		case '\\':
			if i+1 >= len(s) {
				return "", "", false
			}
			i++
			if strings.IndexByte(`,+"\<>;= #`, s[i]) >= 0 {
				b.WriteByte(s[i])
			} else if raw, err := hex.DecodeString(s[i:min(i+2, len(s))]); err == nil && len(raw) == 1 {
				b.WriteByte(raw[0])
				i++
			} else {
				return "", "", false
			}
			kept = b.Len()
		default:
			b.WriteByte(c)
			if c != ' ' {
				kept = b.Len()
			}
		}
	}
	return b.String()[:kept], "", true
}
