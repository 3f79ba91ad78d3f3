package gateway

import (
	"crypto/x509"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func serialOf(hex string) *big.Int {
	n, _ := new(big.Int).SetString(hex, 16)
	return n
}

func TestHexSerials(t *testing.T) {
	t.Parallel()
	forty := func(s string) string { return strings.Repeat("0", 40-len(s)) + s }
	tests := []struct {
		serial string
		width  int
		want   []string
	}{
		{"1234abcd", 0, []string{"1234abcd", forty("1234abcd")}},
		{"abc", 0, []string{"abc", "0abc", forty("abc")}},
		{"abc", 40, []string{forty("abc"), "abc", "0abc"}},
		{"abc", 4, []string{"0abc", "abc", forty("abc")}},
		{strings.Repeat("f", 40), 0, []string{strings.Repeat("f", 40)}},
		{strings.Repeat("f", 39), 0, []string{strings.Repeat("f", 39), "0" + strings.Repeat("f", 39)}},
	}
	for _, tt := range tests {
		if got := hexSerials(serialOf(tt.serial), tt.width); !slices.Equal(got, tt.want) {
			t.Errorf("hexSerials(%s, %d) = %v, want %v", tt.serial, tt.width, got, tt.want)
		}
	}
}

func TestPaddingIsLearnt(t *testing.T) {
	t.Parallel()
	var p paddings
	n := serialOf("abc")
	for _, written := range []string{"abc", "ABC", "0def", "xyz", "", "0x0abc", strings.Repeat("0", 200) + "abc"} {
		if p.learn("ca-1", written, n); p.of("ca-1") != 0 {
			t.Fatalf("%q taught a padding", written)
		}
	}
	p.learn("ca-1", "00000ABC", n)
	if p.of("ca-1") != 8 || p.of("ca-2") != 0 {
		t.Errorf("widths %d and %d, want 8 and 0", p.of("ca-1"), p.of("ca-2"))
	}
}

func TestRevokeUsesThePaddingOfTheGateway(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t)
	leaf := ca.issue(csr, func(c *x509.Certificate) { c.SerialNumber = serialOf("abc") })
	var revoked []string
	plain := "" // the only form of the serial that the gateway accepts
	c := newClient(t, Config{Dialect: DialectCAGW}, func(w http.ResponseWriter, r *http.Request) {
		if _, rest, ok := strings.Cut(r.URL.Path, "/certificates/"); ok {
			revoked = append(revoked, rest)
			if plain != "" && rest != plain+"/actions" {
				always(404, `{"type":"ErrorResponse","error":{"code":"cagw-4041","message":"Certificate not found"}}`)(w, r)
				return
			}
			always(200, `{"type":"ActionResponse","action":{"status":"COMPLETED"}}`)(w, r)
			return
		}
		always(200, asJSON(t, jsonMap{"enrollment": jsonMap{
			"serialNumber": "0000000000000abc", "body": b64(leaf), "chain": []jsonMap{{"certificateData": b64(ca.issuing)}},
		}}))(w, r)
	})
	if _, err := c.Enroll(t.Context(), Enrollment{CSR: csr}); err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), Revocation{Serial: serialOf("beef"), Reason: "cACompromise"}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"000000000000beef/actions"}; !slices.Equal(revoked, want) {
		t.Errorf("revoked %v, want %v", revoked, want)
	}
	// A serial that an importer, or an earlier version, wrote without padding.
	revoked, plain = nil, "cafe"
	if err := c.Revoke(t.Context(), Revocation{Serial: serialOf("cafe")}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"000000000000cafe/actions", "cafe/actions"}; !slices.Equal(revoked, want) {
		t.Errorf("revoked %v, want %v", revoked, want)
	}
}

func TestRevokeAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		dialect Dialect
		status  int
		body    string
		want    Fate
	}{
		{"empty 200", DialectCAGW, 200, ``, 0},
		{"no action", DialectCAGW, 200, `{}`, Unreadable},
		{"HTML", DialectCAGW, 200, `<html>log in</html>`, Unreadable},
		{"HTML to certctl", DialectCertctl, 200, `<html>log in</html>`, Unreadable},
		{"JSON to certctl", DialectCertctl, 200, `{"ok":true}`, 0},
		{"failed", DialectCertctl, 200, `{"status":"FAILED"}`, Refused},
		{"revoked before", DialectCertctl, 409, `{"error":"certificate already revoked"}`, 0},
		{"revoked before, 400", DialectCAGW, 400, `{"type":"ErrorResponse","error":{"code":"x","message":"The certificate has already been revoked."}}`, 0},
		{"revoked before, 200", DialectCAGW, 200, `{"type":"ErrorResponse","error":{"message":"is already in the requested state"}}`, 0},
		{"revoked before, code and message", DialectCertctl, 422, `{"code":"CONFLICT","message":"certificate is already in a revoked state"}`, 0},
		{"revoked before, told by the code", DialectCertctl, 409, `{"code":"ALREADY_REVOKED","message":"conflict"}`, 0},
		{"revoked before, told by the code", DialectCAGW, 500, `{"type":"ErrorResponse","error":{"code":"CertificateAlreadyRevoked","message":"x"}}`, 0},
		{"conflict", DialectCAGW, 409, `{"type":"ErrorResponse","error":{"code":"x","message":"on hold"}}`, Refused},
		{"no such method", DialectCertctl, 405, ``, Unknown},
		{"proxy page", DialectCertctl, 404, `<html>already revoked</html>`, Unknown}, // not the gateway's error body
	}
	for _, tt := range tests {
		c := newClient(t, Config{Dialect: tt.dialect}, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet { // a probe
				always(200, `{"caId":"ca-1","ca":{}}`)(w, r)
				return
			}
			always(tt.status, tt.body)(w, r)
		})
		if got := FateOf(c.Revoke(t.Context(), Revocation{Serial: serialOf("1234abcd")})); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
