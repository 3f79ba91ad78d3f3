package mtlscache

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// text returns the content of a text file as UTF-8 without a byte-order mark. It
// converts UTF-16 with a byte-order mark, which some editors and shells of Windows
// write.
func text(content []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(content, []byte("\xef\xbb\xbf")):
		return content[3:]
	case bytes.HasPrefix(content, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(content, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return content
	}
	units := make([]uint16, 0, len(content)/2)
	for content = content[2:]; len(content) >= 2; content = content[2:] {
		units = append(units, order.Uint16(content))
	}
	return []byte(string(utf16.Decode(units)))
}

// passwordIn returns the password in a password file: its only line, without the
// line break. A file with more lines is an error: it is probably another file.
func passwordIn(path string, content []byte) (string, error) {
	password := strings.TrimRight(string(text(content)), "\r\n")
	if strings.ContainsAny(password, "\r\n") {
		return "", unfinished(path, "holds several lines; write the password as its only line")
	}
	return password, nil
}
