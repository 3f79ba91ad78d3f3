package gateway

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCleanRemovesWhatWasEncoded(t *testing.T) {
	t.Parallel()
	csr := newCSR(t, "shop.example.net")
	armoured := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr.Raw}))
	bare := base64.StdEncoding.EncodeToString(csr.Raw)
	url := base64.RawURLEncoding.EncodeToString(csr.Raw)
	for name, echoed := range map[string]string{
		"PEM":                  armoured,
		"PEM cut off":          armoured[:len(armoured)/2],
		"PEM on one line":      strings.ReplaceAll(armoured, "\n", " "),
		"PEM escaped":          strings.ReplaceAll(armoured, "\n", `\n`),
		"base64":               bare,
		"base64 cut off":       bare[:100],
		"base64 for URLs":      url,
		"base64 without frame": strings.Join(strings.Split(armoured, "\n")[1:], "\n"),
	} {
		got := clean("cannot use csr " + echoed + " sorry")
		for i := 0; i+48 <= len(bare); i += 4 {
			if strings.Contains(got, bare[i:i+24]) || strings.Contains(got, url[i:i+24]) {
				t.Errorf("%s: %q holds a piece of the CSR", name, got)
				break
			}
		}
		if !strings.HasPrefix(got, "cannot use csr [removed]") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestCleanKeepsAndBounds(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"CA not found":                                    "CA not found",
		" two\r\n  lines\tand\x00more\x1b[31m ":           "two lines and more [31m",
		"bad \xff byte":                                   "bad ? byte",
		"serial 00000000000000000000000000000001234abcde": "serial 00000000000000000000000000000001234abcde",
		strings.Repeat("ä ", 300):                         strings.Repeat("ä ", 99) + "ä…",
	} {
		got := clean(in)
		if got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
		if n := utf8.RuneCountInString(got); n > maxMessage {
			t.Errorf("clean(%q) has %d characters", in, n)
		}
	}
}

func TestFateOf(t *testing.T) {
	t.Parallel()
	if got := FateOf(nil); got != 0 {
		t.Errorf("FateOf(nil) = %v", got)
	}
	if got := FateOf(errors.New("foreign")); got != Unknown {
		t.Errorf("FateOf(foreign) = %v, want Unknown", got)
	}
	if got := FateOf(fmt.Errorf("enrolling: %w", &Error{Op: OpEnroll, Fate: Throttled})); got != Throttled {
		t.Errorf("FateOf(wrapped) = %v, want Throttled", got)
	}
}

func TestReadRefusal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body    string
		given         bool
		code, message string
		meaning       meaning // to an enrollment
	}{
		{"gateway", `{"type":"ErrorResponse","error":{"code":"cagw-4018","message":"CA not found","target":"caId","value":"x","details":[{"message":"com.entrust.secret.Backend"}],"additionalProperties":{"k":"secret"}}}`, true, "cagw-4018", "CA not found", meansError},
		{"type alone", `{"type":"ErrorResponse"}`, true, "", "", meansError},
		{"text", `{"error":"invalid profile"}`, true, "", "invalid profile", meansError},
		{"list", `{"status":-1,"errors":[{"message":"bad date"}]}`, true, "", "bad date", meansError},
		{"message beside", `{"type":"ErrorResponse","message":{"message":"no","details":["secret"]}}`, true, "", "no", meansError},
		{"numeric code", `{"error":{"code":4018,"message":"no"}}`, true, "4018", "no", meansError},
		{"licence", `{"error":{"code":"cagw-1","message":"The number of licensed certificates is reached"}}`, true, "cagw-1", "The number of licensed certificates is reached", meansLicence},
		{"licence server", `{"error":{"code":"cagw-1","message":"License service is down"}}`, true, "cagw-1", "License service is down", meansError}, // no limit: it may pass
		{"licence server not reached", `{"error":{"code":"cagw-1","message":"License server could not be reached"}}`, true, "cagw-1", "License server could not be reached", meansError},
		{"licence server unreachable", `{"error":"License server unreachable: maximum number of attempts"}`, true, "", "License server unreachable: maximum number of attempts", meansError},
		{"no error", `{"trackingId":"1","status":"PENDING","error":null}`, false, "", "", meansNothing},
		{"empty error", `{"trackingId":"1","status":"PENDING","error":"","errors":[]}`, false, "", "", meansNothing},
		{"empty object", `{"trackingId":"1","status":"PENDING","error":{}}`, false, "", "", meansNothing},
		{"html", `<html><body>secret</body></html>`, false, "", "", meansNothing},
		{"text body", `TooManyRequests`, false, "", "", meansNothing},
		{"list at the top", `[{"error":"x"}]`, false, "", "", meansNothing},
		{"error of a wrong type", `{"error":[1,2]}`, false, "", "", meansNothing},
		{"nothing", ``, false, "", "", meansNothing},
	}
	for _, tt := range tests {
		got := readRefusal([]byte(tt.body))
		if want := (refusal{tt.given, tt.code, tt.message}); tt.given && got != want || got.given != tt.given {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
		if m := got.meaning(OpEnroll); m != tt.meaning {
			t.Errorf("%s: meaning %d, want %d", tt.name, m, tt.meaning)
		}
		if strings.Contains(got.message+got.code, "secret") {
			t.Errorf("%s: details got through: %+v", tt.name, got)
		}
	}
	revoked := readRefusal([]byte(`{"error":{"message":"Certificate is already revoked"}}`))
	if revoked.meaning(OpRevoke) != meansRevoked || revoked.meaning(OpEnroll) != meansError {
		t.Error("a certificate that is revoked already is told wrongly")
	}
}
