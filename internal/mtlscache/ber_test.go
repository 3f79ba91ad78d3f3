package mtlscache

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A berStyle is a way to write BER that DER forbids. The zero value writes DER.
type berStyle struct {
	name       string
	indefinite bool // lengths of constructed elements
	long       bool // lengths of four bytes
	pieces     int  // the size of the pieces of an octet string; 0: one piece
}

var berStyles = []berStyle{
	{name: "indefinite", indefinite: true},
	{name: "long lengths", long: true},
	{name: "pieces", pieces: 1000},
	{name: "small pieces, indefinite", indefinite: true, pieces: 7},
	{name: "small pieces, long lengths", long: true, pieces: 16},
}

// write rewrites one element of DER. It leaves the content of octet strings as it is.
func (s berStyle) write(t rapid.TB, der []byte) []byte {
	t.Helper()
	var raw asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &raw); err != nil || len(rest) > 0 {
		t.Fatalf("%x is not one element of DER", der)
	}
	tag := raw.FullBytes[0]
	if raw.IsCompound {
		var content []byte
		for rest := raw.Bytes; len(rest) > 0; {
			var child asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &child); err != nil {
				t.Fatal(err)
			}
			content = append(content, s.write(t, child.FullBytes)...)
		}
		return s.element(tag, content)
	}
	if tag == asn1.TagOctetString && s.pieces > 0 {
		return s.element(0x20|tag, s.split(raw.Bytes))
	}
	return s.element(tag, raw.Bytes)
}

// split returns content in pieces.
func (s berStyle) split(content []byte) []byte {
	var pieces []byte
	for len(content) > 0 {
		n := min(max(s.pieces, 1), len(content))
		pieces = append(pieces, s.element(asn1.TagOctetString, content[:n])...)
		content = content[n:]
	}
	return pieces
}

func (s berStyle) element(tag byte, content []byte) []byte {
	n := len(content)
	switch {
	case s.indefinite && tag&0x20 != 0:
		return append(append([]byte{tag, 0x80}, content...), 0, 0)
	case s.long:
		return append([]byte{tag, 0x84, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, content...)
	}
	return appendElement([]byte{tag}, content)
}

// writePFX rewrites every unencrypted level of a PKCS#12 file, down to the bags, with
// a new MAC.
func (s berStyle) writePFX(t testing.TB, der []byte, password string) []byte {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var (
		file   pfx
		octets []byte
		infos  []contentInfo
	)
	check(unmarshal(der, &file))
	check(unmarshal(file.AuthSafe.Content.Bytes, &octets))
	check(unmarshalBER(octets, &infos))
	for i, info := range infos {
		if info.Type.Equal(oidData) {
			var err error
			check(unmarshal(info.Content.Bytes, &octets))
			octets, err = toDER(octets)
			check(err)
			infos[i], err = data(s.write(t, octets))
			check(err)
			continue
		}
		var encrypted encryptedData
		check(unmarshal(info.Content.Bytes, &encrypted))
		content := &encrypted.Info.Content
		if content.IsCompound {
			whole, err := joined(content.Bytes)
			check(err)
			content.Bytes = whole
		}
		*content = asn1.RawValue{Class: content.Class, Tag: content.Tag, IsCompound: true, Bytes: berStyle{pieces: 100}.split(content.Bytes)}
		der, err := asn1.Marshal(encrypted)
		check(err)
		infos[i].Content = explicit(der)
	}
	safe, err := asn1.Marshal(infos)
	check(err)
	whole, err := seal(s.write(t, safe), password)
	check(err)
	return s.write(t, whole)
}

// TestToDER compares elements with their known DER.
func TestToDER(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, ber, der string }{
		{"DER", "3003020103", "3003020103"},
		{"nothing in it", "3000", "3000"},
		{"indefinite", "30800201030000", "3003020103"},
		{"indefinite in indefinite", "3080a080020103000002010500 00", "3008a003020103020105"},
		{"longer length than needed", "308400000003020103", "3003020103"},
		{"octets in pieces", "2480040201020401030000", "0403010203"},
		{"octets in definite pieces", "2407040201020401 03", "0403010203"},
		{"pieces in pieces", "24802480040101000004 0102 0000", "04020101"[:4] + "0102"},
		{"no pieces", "24800000", "0400"},
		{"behind an explicit tag", "a080248004010100000000", "a003040101"},
		{"octet strings behind an implicit tag stay", "a080040101 0401020000", "a006040101040102"},
		{"tag of two bytes", "bf22800201030000", "bf2203020103"},

		{"empty", "", ""},
		{"a tag alone", "30", ""},
		{"a tag without an end", "bf8f", ""},
		{"no end of contents", "3080020103", ""},
		{"half an end of contents", "308002010300", ""},
		{"end of contents in a definite length", "30020000", ""},
		{"shorter than its length", "3004020103", ""},
		{"bytes behind", "300302010300", ""},
		{"indefinite and primitive", "04800000", ""},
		{"other pieces than octet strings", "2403020101", ""},
		{"a length of more than 1 MiB", "308400200000", ""},
		{"a length of 127 bytes", "30ff00", ""},
		{"a damaged element within", "3003020203", ""},
		{"deeper than any file", strings.Repeat("3080", 50) + strings.Repeat("0000", 50), ""},
	} {
		ber, err := hex.DecodeString(strings.ReplaceAll(tc.ber, " ", ""))
		if err != nil {
			t.Fatal(tc.name, err)
		}
		der, err := toDER(ber)
		if got := hex.EncodeToString(der); got != tc.der || (err != nil) != (tc.der == "") {
			t.Errorf("%s: toDER(%s) = %s, %v; want %s", tc.name, tc.ber, got, err, tc.der)
		}
	}
}

// TestToDERUndoesBER writes random DER in every style of BER and converts it back.
func TestToDERUndoesBER(t *testing.T) {
	t.Parallel()
	var element func(depth int) *rapid.Generator[[]byte]
	element = func(depth int) *rapid.Generator[[]byte] {
		return rapid.Custom(func(t *rapid.T) []byte {
			if depth > 0 && rapid.Bool().Draw(t, "constructed") {
				tag := rapid.SampledFrom([]byte{0x30, 0x31, 0xa0, 0xa1}).Draw(t, "tag")
				children := rapid.SliceOfN(element(depth-1), 0, 4).Draw(t, "children")
				return appendElement([]byte{tag}, bytes.Join(children, nil))
			}
			tag := rapid.SampledFrom([]byte{0x02, 0x04, 0x04, 0x06, 0x0c, 0x80}).Draw(t, "tag")
			return appendElement([]byte{tag}, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "content"))
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		der := element(4).Draw(t, "DER")
		style := berStyle{
			indefinite: rapid.Bool().Draw(t, "indefinite"),
			long:       rapid.Bool().Draw(t, "long"),
			pieces:     rapid.IntRange(0, 400).Draw(t, "pieces"),
		}
		if got, err := toDER(style.write(t, der)); err != nil || !bytes.Equal(got, der) {
			t.Fatalf("toDER = %x, %v; want %x", got, err, der)
		}
	})
}

// FuzzToDER checks that toDER does not change its own output, and that the standard
// library reads that output as one element.
func FuzzToDER(f *testing.F) {
	files, err := filepath.Glob("testdata/*.p12")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte{0x24, 0x80, 4, 1, 1, 0, 0})
	f.Fuzz(func(t *testing.T, ber []byte) {
		der, err := toDER(ber)
		if err != nil {
			return
		}
		again, err := toDER(der)
		if err != nil || !bytes.Equal(der, again) {
			t.Fatalf("toDER of %x is %x, and of that %x, %v", ber, der, again, err)
		}
		var raw asn1.RawValue
		if rest, err := asn1.Unmarshal(der, &raw); len(rest) > 0 || err != nil && ber[0]&0x1f != 0x1f {
			t.Fatalf("toDER of %x is %x, which is not one element: %v", ber, der, err)
		}
	})
}
