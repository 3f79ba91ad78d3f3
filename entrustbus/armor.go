package entrustbus

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"slices"
	"strings"
	"unicode"
	utf16words "unicode/utf16"
	"unicode/utf8"
)

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
	pemLine  = "-----"
)

// thing is what a text may hold in PEM, and what it is called.
type thing struct {
	name   string
	labels []string // the first is the one that is written
}

var (
	requestThing     = thing{"certificate request", []string{"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"}}
	certificateThing = thing{"certificate", []string{"CERTIFICATE", "X509 CERTIFICATE", "X.509 CERTIFICATE"}}
)

// block is one PEM block.
type block struct {
	label string
	der   []byte
}

// one takes the DER of the one thing out of data, in whichever form data has it: DER; PEM with text around, with a
// byte-order mark, indented, on one line, with either line end or with \n written out; base64 without the lines of PEM,
// and base64 of PEM. Text in UTF-16 is named: on the bus it is another program's mistake.
func (t thing) one(field string, data []byte) ([]byte, error) {
	if len(data) > MaxCSRBytes {
		return nil, errTooLong(field, MaxCSRBytes)
	}
	if utf16(data) {
		return nil, &FieldError{Field: field, Problem: "is UTF-16", Fix: "write it as UTF-8"}
	}
	blocks, err := t.blocks(field, data)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(blocks, func(b block) bool { return strings.Contains(b.label, "PRIVATE KEY") }) {
		return nil, &FieldError{Field: field, Problem: "holds a private key", Fix: "send the " + t.name + " alone, and replace the key: it is no longer secret"}
	}
	if len(blocks) > 1 {
		return nil, &FieldError{Field: field, Problem: "has more than one PEM block", Fix: "give one " + t.name}
	}
	if !slices.Contains(t.labels, blocks[0].label) {
		return nil, t.errOther(field, blocks[0].label)
	}
	return blocks[0].der, nil
}

// all takes every thing out of the content of a file, and passes over blocks of other labels.
func (t thing) all(data []byte) ([][]byte, error) {
	const field = "file"
	if utf16(data) {
		data = fromUTF16(data)
	}
	blocks, err := t.blocks(field, data)
	if err != nil {
		return nil, err
	}
	var found [][]byte
	for _, b := range blocks {
		if slices.Contains(t.labels, b.label) {
			found = append(found, b.der)
		}
	}
	if len(found) == 0 {
		return nil, t.errOther(field, blocks[0].label)
	}
	return found, nil
}

func (t thing) errOther(field, label string) *FieldError {
	what := "a PEM block of another type"
	switch {
	case strings.Contains(label, "PRIVATE KEY"):
		what = "a private key"
	case slices.Contains(requestThing.labels, label):
		what = "a certificate request"
	case slices.Contains(certificateThing.labels, label):
		what = "a certificate"
	}
	return &FieldError{
		Field: field, Problem: "holds " + what + ", not a " + t.name, Fix: "it must begin with -----BEGIN " + t.labels[0] + pemLine,
	}
}

// blocks finds what data holds, in any of the forms. There is at least one beside a nil error.
func (t thing) blocks(field string, data []byte) ([]block, error) {
	if isDER(data) {
		return []block{{t.labels[0], data}}, nil
	}
	text := string(data)
	if strings.Contains(text, pemBegin) {
		return pemBlocks(field, text)
	}
	if der, ok := fromBase64(unescape(text)); ok {
		if isDER(der) {
			return []block{{t.labels[0], der}}, nil
		}
		if bytes.Contains(der, []byte(pemBegin)) {
			return pemBlocks(field, string(der))
		}
	}
	return nil, &FieldError{
		Field: field, Problem: "is not a " + t.name + " in PEM, DER or base64", Fix: "give the PEM block that begins with -----BEGIN " + t.labels[0] + pemLine,
	}
}

// isDER reports whether data is a DER sequence of more than 127 bytes, as every certificate and request is, by its length.
func isDER(data []byte) bool {
	return len(data) > 4 && data[0] == 0x30 && data[1] > 0x80 && data[1] <= 0x84
}

// pemBlocks reads the PEM blocks of a text. The standard library's reader passes over a block that is indented, on one
// line, or has something wrong with it, and does not say that it did.
func pemBlocks(field, text string) ([]block, error) {
	var found []block
	for {
		_, rest, ok := strings.Cut(text, pemBegin)
		if !ok {
			return found, nil
		}
		label, rest, ok := strings.Cut(rest, pemLine)
		if !ok || len(label) > 64 || strings.ContainsAny(label, "\r\n-") {
			return nil, &FieldError{Field: field, Problem: "has a malformed BEGIN line", Fix: "write -----BEGIN … with five dashes on both sides"}
		}
		inside, rest, ok := strings.Cut(rest, pemEnd+label+pemLine)
		if !ok {
			return nil, &FieldError{Field: field, Problem: "has a PEM block without its END line", Fix: "give the whole block"}
		}
		if strings.Contains(inside, ":") {
			return nil, &FieldError{Field: field, Problem: "has headers in its PEM block", Fix: "RFC 7468 allows none"}
		}
		der, ok := fromBase64(unescape(inside))
		if !ok || len(der) == 0 {
			return nil, &FieldError{Field: field, Problem: "has a PEM block that is not base64", Fix: "give the block as it was made"}
		}
		found, text = append(found, block{label, der}), rest
	}
}

// unescape drops line ends that are written out, as a shell or a template leaves them.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	return strings.NewReplacer(`\r`, "", `\n`, "", `\t`, "").Replace(text)
}

// invisible reports whether a character takes no part in a text of ASCII: blanks, line ends, byte-order marks and
// characters without a width.
func invisible(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }

// fromUTF16 reads text in UTF-16 of either byte order, with or without a mark.
func fromUTF16(data []byte) []byte {
	var order binary.ByteOrder = binary.LittleEndian
	if data[0] == 0xfe || data[0] == 0 {
		order = binary.BigEndian
	}
	words := make([]uint16, len(data)/2)
	for i := range words {
		words[i] = order.Uint16(data[2*i:])
	}
	var out []byte
	for _, r := range utf16words.Decode(words) {
		out = utf8.AppendRune(out, r)
	}
	return out
}

// written is the PEM of a thing, as it is published.
func (t thing) written(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: t.labels[0], Bytes: der}))
}

// ReadCSRs finds the certificate requests in the content of a file, in any form that a request on the bus may have, and
// in UTF-16; a file may hold several in PEM, and other blocks beside them. It returns the DER of each, at least one, and
// does not parse them. The error is a *FieldError for "file".
func ReadCSRs(data []byte) ([][]byte, error) { return requestThing.all(data) }

// ReadCertificates is ReadCSRs for certificates.
func ReadCertificates(data []byte) ([][]byte, error) { return certificateThing.all(data) }

// CSRPEM and CertificatePEM write DER as the one PEM block that a request holds.
func CSRPEM(der []byte) string { return requestThing.written(der) }

// CertificatePEM is CSRPEM for a certificate.
func CertificatePEM(der []byte) string { return certificateThing.written(der) }
