package entrustbus_test

import (
	"crypto/x509/pkix"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

func TestParseSAN(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		in   string
		kind entrustbus.SANType
		want string
	}{
		{"shop.example.net", entrustbus.SANDNS, "shop.example.net"},
		{"Shop.Example.NET", entrustbus.SANDNS, "shop.example.net"},
		{"dns:shop", entrustbus.SANDNS, "shop"}, // one label: internal names are ordinary
		{"DNS:shop", entrustbus.SANDNS, "shop"},
		{"*.example.net", entrustbus.SANDNS, "*.example.net"},
		{"_sip._tcp.example.net", entrustbus.SANDNS, "_sip._tcp.example.net"},
		{"xn--bcher-kva.example", entrustbus.SANDNS, "xn--bcher-kva.example"},
		{"10.example.net", entrustbus.SANDNS, "10.example.net"},
		{strings.Repeat("a", 63) + ".net", entrustbus.SANDNS, strings.Repeat("a", 63) + ".net"},
		{"192.0.2.7", entrustbus.SANIP, "192.0.2.7"},
		{"ip:192.0.2.7", entrustbus.SANIP, "192.0.2.7"},
		{"2001:DB8:0:0::7", entrustbus.SANIP, "2001:db8::7"},
		{"::1", entrustbus.SANIP, "::1"},
		{"::ffff:192.0.2.7", entrustbus.SANIP, "192.0.2.7"},
		{"pki@Example.net", entrustbus.SANEmail, "pki@example.net"},
		{"email:First.Last+x@example.net", entrustbus.SANEmail, "First.Last+x@example.net"},
		{"https://example.net/a?b=c", entrustbus.SANURI, "https://example.net/a?b=c"},
		{"uri:urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", entrustbus.SANURI, "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"},
		{"spiffe://example.net/user@host", entrustbus.SANURI, "spiffe://example.net/user@host"}, // :// before @
	} {
		got, err := entrustbus.ParseSAN(row.in)
		if err != nil || got.Type != row.kind || got.Value != row.want || got.DER != nil {
			t.Errorf("ParseSAN(%q) = %+v, %v, want %s %q", row.in, got, err, row.kind, row.want)
		}
	}
	// What must be refused is in the corpus of hostile messages; here, that the position is told.
	r := &entrustbus.Issue{ID: "a", CSRPEM: testdata(t, "request.pem"), SANs: []string{"a", "b", "c d"}}
	wantField(t, "third", r.Validate(), "sans[2]")
}

func TestRevokeSerialNumber(t *testing.T) {
	t.Parallel()
	const decimal = "305441741"
	for _, r := range []entrustbus.Revoke{
		{Serial: "1234abcd"}, {Serial: "1234ABCD"}, {Serial: "0x1234abcd"}, {Serial: "0X1234ABCD"}, {Serial: "12:34:ab:cd"},
		{Serial: "00001234abcd"}, {Serial: "0x00:12:34:AB:CD"}, {Serial: strings.Repeat("0", 200) + "1234abcd"},
		{Serial: "12-34-AB-CD"}, {Serial: "12 34 ab cd"}, {Serial: "serial=1234ABCD\n"}, {Serial: "Serial Number: 12:34:ab:cd"},
		{Serial: "serialNumber=0x1234abcd"}, {Serial: "    12:34:\r\n    ab:cd"}, {Serial: "\ufeff1234abcd"}, {Serial: "\u200e12 34 ab\u00a0cd"},
		{SerialDecimal: decimal}, {SerialDecimal: "000" + decimal}, {SerialDecimal: " 305441741\n"}, {CertificatePEM: testdata(t, "certificate.pem")},
		{CertificatePEM: "Certificate:\n  Data\n" + testdata(t, "certificate.pem") + "x"}, {CertificatePEM: string(pemBytes(t, testdata(t, "certificate.pem")))},
	} {
		got, err := r.SerialNumber()
		if err != nil || got.String() != decimal {
			t.Errorf("%.40q %q: got %v, %v, want %s", r.Serial, r.SerialDecimal, got, err, decimal)
		}
	}
	longest := entrustbus.Revoke{ID: "a", Serial: strings.Repeat("ff", 20)}
	if err := longest.Validate(); err != nil {
		t.Errorf("20 octets: %v", err)
	}
	longest.Serial += "0"
	wantField(t, "20½ octets", longest.Validate(), "serial")
	wantField(t, "in decimal", (&entrustbus.Revoke{ID: "a", SerialDecimal: strings.Repeat("9", 49)}).Validate(), "serial_decimal")

	// What was meant is told, where it can be.
	for hint, r := range map[string]entrustbus.Revoke{
		"serial: holds both forms, decimal and hexadecimal; give one: serial 0x1267, or serial_decimal 4711":                       {Serial: "4711 (0x1267)"},
		"serial: is longer than 20 octets in hexadecimal; it has decimal digits only: if it is decimal, give it as serial_decimal": {Serial: "730750818665451459101842416358141509827966271487"},
		"serial_decimal: is not a decimal number; it reads as hexadecimal: give it as serial":                                      {SerialDecimal: "12:34:ab:cd"},
		"serial: holds a PEM block; give the certificate as certificate_pem":                                                       {Serial: testdata(t, "certificate.pem")},
		"certificate_pem: holds a certificate request, not a certificate; it must begin with -----BEGIN CERTIFICATE-----":          {CertificatePEM: testdata(t, "request.pem")},
		"serial: is negative":                            {Serial: "-12"},
		"serial: has a separator that separates nothing": {Serial: "12::34"},
	} {
		r.ID = "a"
		if err := r.Validate(); err == nil || err.Error() != hint {
			t.Errorf("got %v, want %q", err, hint)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	// certctl's spellings, beside RFC 5280's.
	for in, want := range map[string]string{
		"Unspecified": "unspecified", "KeyCompromise": "keyCompromise", "CACompromise": "caCompromise",
		"AffiliationChanged": "affiliationChanged", "Superseded": "superseded", "CessationOfOperation": "cessationOfOperation",
		"CertificateHold": "certificateHold", "PrivilegeWithdrawn": "privilegeWithdrawn", "keycompromise": "keyCompromise",
		"SUPERSEDED": "superseded", "key_compromise": "keyCompromise", "CESSATION_OF_OPERATION": "cessationOfOperation",
		"key-compromise": "keyCompromise", "1": "keyCompromise", "0": "unspecified", "9": "privilegeWithdrawn",
		"8": "removeFromCRL", "remove_from_crl": "removeFromCRL", "REMOVEFROMCRL": "removeFromCRL",
	} {
		r := &entrustbus.Revoke{ID: "a", Serial: "1", Reason: in}
		if err := r.Validate(); err != nil || r.Reason != want {
			t.Errorf("reason %q: got %q, %v, want %q", in, r.Reason, err, want)
		}
	}
	for _, reason := range entrustbus.Reasons() {
		if got, ok := entrustbus.NormalReason(reason); !ok || got != reason {
			t.Errorf("NormalReason(%q) = %q, %v", reason, got, ok)
		}
	}
	r, err := entrustbus.DecodeRequest(entrustbus.KindRevoke, entrustbus.EncodingJSON, []byte(`{"id":"a","serial":"1","reason":4}`))
	if err != nil || r.(*entrustbus.Revoke).Reason != "superseded" {
		t.Errorf("a number: got %+v, %v", r, err)
	}
}

// A certificate request by another program: x509 would call a host name that is not ASCII a certificate request that
// cannot be parsed.
func TestNamesOfCertificateRequests(t *testing.T) {
	t.Parallel()
	name := func(tag byte, value string) pkix.Extension {
		return pkix.Extension{Id: san.Extension(), Value: append([]byte{0x30, byte(len(value) + 2), tag, byte(len(value))}, value...)}
	}
	got, err := signed(t, name(0x82, "Shop.Example.NET.")).Names()
	if err != nil || len(got) != 1 || got[0].Value != "shop.example.net" {
		t.Errorf("trailing dot: got %v, %v", got, err)
	}
}
