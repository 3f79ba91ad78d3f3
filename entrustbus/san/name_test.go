package san_test

import (
	"crypto/x509/pkix"
	"errors"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

func TestCoveredBy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		typ        san.Type
		want, have string
		ok         bool
	}{
		{san.DNS, "a.example", "A.EXAMPLE.", true},
		{san.DNS, "a.b.example", "*.example", false}, // one label only
		{san.DNS, "*.example", "*.example", true},
		{san.DNS, "a.example", "*.a.example", false},
		{san.DNS, "*.a.example", "*.example", false},
		{san.IP, "2001:DB8::1", "2001:db8:0::1", true},
		{san.IP, "::ffff:192.0.2.1", "192.0.2.1", true},
		{san.IP, "192.0.2.1", "192.0.2.2", false},
		{san.Email, "me@Example.net", "me@example.NET", true},
		{san.Email, "Me@example.net", "me@example.net", false},
		{san.URI, "urn:a", "urn:A", false},
	}
	for _, tt := range tests {
		if got := (san.Name{Type: tt.typ, Value: tt.want}).CoveredBy(san.Name{Type: tt.typ, Value: tt.have}); got != tt.ok {
			t.Errorf("%s %q covered by %q: %v, want %v", tt.typ, tt.want, tt.have, got, tt.ok)
		}
	}
	if (san.Name{Type: san.IP, Value: "192.0.2.1"}).CoveredBy(san.Name{Type: san.DNS, Value: "192.0.2.1"}) {
		t.Error("a host name covers an address")
	}
}

// One policy, whichever way a name comes: text, a certificate request, a certificate.
func TestTextAndDERAgree(t *testing.T) {
	t.Parallel()
	der := func(tag byte, value string) []byte {
		return append([]byte{0x30, byte(len(value) + 2), tag, byte(len(value))}, value...)
	}
	for _, row := range []struct {
		text  string
		tag   byte
		value string
		want  san.Name
	}{
		{"dns:Shop.Example.NET.", 0x82, "Shop.Example.NET.", san.Name{Type: san.DNS, Value: "shop.example.net"}},
		{"*.Example.net", 0x82, "*.Example.net", san.Name{Type: san.DNS, Value: "*.example.net"}},
		{"Me@Example.NET.", 0x81, "Me@Example.NET.", san.Name{Type: san.Email, Value: "Me@example.net"}},
		{"uri:urn:A", 0x86, "urn:A", san.Name{Type: san.URI, Value: "urn:A"}},
		{"::ffff:192.0.2.7", 0x87, "\xc0\x00\x02\x07", san.Name{Type: san.IP, Value: "192.0.2.7"}},
	} {
		fromText, err := san.Parse(row.text)
		if err != nil {
			t.Errorf("%s: %v", row.text, err)
		}
		fromDER, err := san.Read([]pkix.Extension{{Id: san.Extension(), Value: der(row.tag, row.value)}})
		if err != nil || len(fromDER) != 1 {
			t.Fatalf("%s: got %v, %v", row.text, fromDER, err)
		}
		for _, got := range []san.Name{fromText, fromDER[0]} {
			if got.Type != row.want.Type || got.Value != row.want.Value || got.Check() != nil {
				t.Errorf("%s: got %+v, %v, want %+v", row.text, got, got.Check(), row.want)
			}
		}
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		value string // of a subjectAltName extension
		want  string
	}{
		{"\x30\x10\x82\x0eb\xc3\xbccher.test.a", "write it as an A-label (xn--…)"},
		{"\x30\x0a\x81\x08a@\xc3\xbc.net", "A-label"},
		{"\x30\x02\x82\x00", "is empty"},
		{"\x30\x05\x82\x03a b", "a blank"},
		{"\x30\x07\x87\x05\x01\x02\x03\x04\x05", "is not an IP address"},
		{"\x30\x03\x02\x01\x01", "is not the DER of one name"},
	} {
		names, err := san.ReadValue([]byte(row.value))
		if err != nil || len(names) != 1 {
			t.Fatalf("%q: got %v, %v", row.value, names, err)
		}
		var problem *san.Error
		if err := names[0].Check(); !errors.As(err, &problem) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q: got %v, want %q", row.value, err, row.want)
		}
	}
	for _, value := range []string{"", "\x30", "\x31\x00", "\x30\x00\x00", "\x30\x03\x82\x05a"} {
		if names, err := san.ReadValue([]byte(value)); err == nil {
			t.Errorf("%q: got %v, want an error", value, names)
		}
	}
}
