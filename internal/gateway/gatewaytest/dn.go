package gatewaytest

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// attributeOID returns the object identifier of a lower-case attribute name that clients of
// the gateway use; nil for an unknown name.
func attributeOID(name string) asn1.ObjectIdentifier {
	switch strings.ToLower(name) {
	case "cn", "commonname":
		return asn1.ObjectIdentifier{2, 5, 4, 3}
	case "sn", "surname":
		return asn1.ObjectIdentifier{2, 5, 4, 4}
	case "serialnumber":
		return asn1.ObjectIdentifier{2, 5, 4, 5}
	case "c", "country":
		return asn1.ObjectIdentifier{2, 5, 4, 6}
	case "l", "locality":
		return asn1.ObjectIdentifier{2, 5, 4, 7}
	case "st", "s", "state":
		return asn1.ObjectIdentifier{2, 5, 4, 8}
	case "street":
		return asn1.ObjectIdentifier{2, 5, 4, 9}
	case "o", "organization":
		return asn1.ObjectIdentifier{2, 5, 4, 10}
	case "ou":
		return asn1.ObjectIdentifier{2, 5, 4, 11}
	case "title", "t":
		return asn1.ObjectIdentifier{2, 5, 4, 12}
	case "businesscategory":
		return asn1.ObjectIdentifier{2, 5, 4, 15}
	case "postalcode":
		return asn1.ObjectIdentifier{2, 5, 4, 17}
	case "givenname", "gn":
		return asn1.ObjectIdentifier{2, 5, 4, 42}
	case "initials":
		return asn1.ObjectIdentifier{2, 5, 4, 43}
	case "organizationidentifier":
		return asn1.ObjectIdentifier{2, 5, 4, 97}
	case "uid":
		return asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	case "dc":
		return asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	case "emailaddress", "e", "email":
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	case "unstructuredname":
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 2}
	}
	return nil
}

// parseOID reads a dotted object identifier.
func parseOID(s string) (asn1.ObjectIdentifier, error) {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(strings.TrimPrefix(strings.ToLower(s), "oid."), ".") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("object identifier %q is not dotted decimal", s)
		}
		oid = append(oid, int(n))
	}
	if len(oid) < 2 || oid[0] > 2 {
		return nil, fmt.Errorf("object identifier %q is invalid", s)
	}
	return oid, nil
}

// attribute builds one attribute of a name. DC and e-mail are IA5String (RFC 5280, 4.1.2.6).
func attribute(name, value string) (pkix.AttributeTypeAndValue, error) {
	oid := attributeOID(name)
	if oid == nil {
		var err error
		if oid, err = parseOID(name); err != nil {
			return pkix.AttributeTypeAndValue{}, fmt.Errorf("unknown attribute %q", name)
		}
	}
	if value == "" {
		return pkix.AttributeTypeAndValue{}, fmt.Errorf("attribute %q is empty", name)
	}
	switch strings.ToLower(name) {
	case "dc", "emailaddress", "e", "email":
		if !san.Visible(value) {
			return pkix.AttributeTypeAndValue{}, fmt.Errorf("attribute %q is not ASCII", name)
		}
		return pkix.AttributeTypeAndValue{Type: oid, Value: asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(value)}}, nil
	}
	return pkix.AttributeTypeAndValue{Type: oid, Value: value}, nil
}

// encodedAttribute builds an attribute from "#" and the hex of its DER value (RFC 4514,
// 2.4). Clients write attributes without a name in this form.
func encodedAttribute(name, value string) (pkix.AttributeTypeAndValue, error) {
	attr, err := attribute(name, "-")
	if err != nil {
		return attr, err
	}
	der, err := hex.DecodeString(value[1:])
	var raw asn1.RawValue
	if err == nil {
		var rest []byte
		if rest, err = asn1.Unmarshal(der, &raw); len(rest) > 0 {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		return attr, fmt.Errorf("attribute %q is not the hex of one DER value", name)
	}
	attr.Value = raw
	return attr, nil
}

// parseDN reads a distinguished name in the form of RFC 4514 ("CN=a,O=b", most
// specific part first) and returns the DER of its RDNSequence.
func parseDN(s string) ([]byte, error) {
	var seq pkix.RDNSequence
	var rdn pkix.RelativeDistinguishedNameSET
	for rest, more := s, true; more; {
		var name, value string
		var sep byte
		var err error
		var encoded bool
		name, value, encoded, sep, rest, err = nextAttribute(rest)
		if err != nil {
			return nil, err
		}
		build := attribute
		if encoded {
			build = encodedAttribute
		}
		attr, err := build(name, value)
		if err != nil {
			return nil, err
		}
		rdn = append(rdn, attr)
		if sep != '+' {
			seq = append(seq, rdn)
			rdn = nil
		}
		more = sep != 0
	}
	slices.Reverse(seq)
	der, err := marshalName(seq)
	if err == nil && nameString(der) == "" {
		err = errors.New("a value cannot be read")
	}
	return der, err
}

// marshalName encodes a name.
func marshalName(seq pkix.RDNSequence) ([]byte, error) {
	der, err := asn1.Marshal(seq)
	if err != nil {
		return nil, fmt.Errorf("encoding name: %w", err)
	}
	return der, nil
}

// nextAttribute cuts "name=value" off the front of s. sep is the separator after it: ',',
// '+' or 0 at the end. encoded reports a value that begins with an unescaped #.
func nextAttribute(s string) (name, value string, encoded bool, sep byte, rest string, err error) {
	fail := func(problem string) (string, string, bool, byte, string, error) {
		return "", "", false, 0, "", errors.New(problem)
	}
	name, s, ok := strings.Cut(s, "=")
	if !ok {
		return fail("a part has no equals sign")
	}
	name = strings.TrimSpace(name)
	s = strings.TrimLeft(s, " ")
	encoded = strings.HasPrefix(s, "#")

	var b strings.Builder
	keep := 0 // length up to the last character that is not a trailing blank
	quoted := strings.HasPrefix(s, `"`)
	i := 0
	if quoted {
		i = 1
	}
scan:
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			raw, _ := hex.DecodeString(s[i+1 : i+3])
			b.Write(raw)
			keep = b.Len()
			i += 2
			continue
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
			keep = b.Len()
			continue
		case c == '\\':
			return fail("it ends in a backslash")
		case quoted && c == '"':
			quoted = false
			keep = b.Len()
			continue
		case !quoted && (c == ',' || c == ';' || c == '+'):
			break scan
		}
		b.WriteByte(c)
		if c != ' ' {
			keep = b.Len()
		}
	}
	if quoted {
		return fail("a quoted value does not end")
	}
	value = b.String()[:keep]
	if i < len(s) {
		sep, rest = ',', s[i+1:]
		if s[i] == '+' {
			sep = '+'
		}
	}
	return name, value, encoded, sep, rest, nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// commonName returns the first common name in the DER of a name; "" if there is none. It
// reads only what it needs, since it runs once for each order in every report.
func commonName(der []byte) string {
	name := cryptobyte.String(der)
	var seq cryptobyte.String
	if !name.ReadASN1(&seq, cryptobyteasn1.SEQUENCE) {
		return ""
	}
	for !seq.Empty() {
		var set cryptobyte.String
		if !seq.ReadASN1(&set, cryptobyteasn1.SET) {
			return ""
		}
		for !set.Empty() {
			var attr, value cryptobyte.String
			var oid asn1.ObjectIdentifier
			var tag cryptobyteasn1.Tag
			if !set.ReadASN1(&attr, cryptobyteasn1.SEQUENCE) || !attr.ReadASN1ObjectIdentifier(&oid) ||
				!attr.ReadAnyASN1(&value, &tag) {
				return ""
			}
			if oid.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
				return string(value)
			}
		}
	}
	return ""
}

// typeOfName matches the type of an attribute in a name that nameString printed, and the
// separator before it.
var typeOfName = regexp.MustCompile(`(^|[^\\\\][,+])([A-Z]+)=`)

// recordedName prints the DER of a name as the gateway does in subjectName and issuerName:
// with attribute types in lower case.
func recordedName(der []byte) string {
	return typeOfName.ReplaceAllStringFunc(nameString(der), func(s string) string {
		i := strings.IndexAny(s, ",+") + 1
		return s[:i] + strings.ToLower(s[i:])
	})
}

// nameString prints the DER of a name in the form of RFC 2253; "" if it is no name.
func nameString(der []byte) string {
	var seq pkix.RDNSequence
	if _, err := asn1.Unmarshal(der, &seq); err != nil {
		return ""
	}
	return seq.String()
}
