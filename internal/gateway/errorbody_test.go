package gateway

import (
	"strings"
	"testing"
)

// TestReadRefusal reads error bodies of the gateway and of other servers. The error body of one
// dialect does not count in the other.
func TestReadRefusal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body    string
		cagw, certctl bool // counts as the gateway's own in that dialect
		code, message string
		meaning       meaning // to an enrollment, in the dialect of the body
	}{
		{"gateway", `{"type":"ErrorResponse","error":{"code":"cagw-4018","message":"CA not found","target":"caId","value":"x","details":[{"message":"com.entrust.secret.Backend"}],"additionalProperties":{"k":"secret"}}}`, true, false, "cagw-4018", "CA not found", meansError},
		{"numeric code", `{"type":"ErrorResponse","error":{"code":4018,"message":"no"}}`, true, false, "4018", "no", meansError},
		{"code alone", `{"type":"ErrorResponse","error":{"code":"cagw-1"}}`, true, false, "cagw-1", "", meansError},
		{"message beside", `{"type":"ErrorResponse","error":{"code":"c","message":"m"},"message":{"message":"no","details":["secret"]}}`, true, false, "c", "m", meansError},
		{"licence", `{"type":"ErrorResponse","error":{"code":"cagw-1","message":"The number of licensed certificates is reached"}}`, true, false, "cagw-1", "The number of licensed certificates is reached", meansLicence},
		{"licence server", `{"type":"ErrorResponse","error":{"code":"cagw-1","message":"License service is down"}}`, true, false, "cagw-1", "License service is down", meansError}, // no limit: it may pass
		{"licence server not reached", `{"type":"ErrorResponse","error":{"code":"cagw-1","message":"License server could not be reached"}}`, true, false, "cagw-1", "License server could not be reached", meansError},
		{"text", `{"error":"invalid profile"}`, false, true, "", "invalid profile", meansError},
		{"code and message", `{"code":"INVALID_PROFILE","message":"invalid profile"}`, false, true, "INVALID_PROFILE", "invalid profile", meansError},
		{"licence server unreachable", `{"error":"License server unreachable: maximum number of attempts"}`, false, true, "", "License server unreachable: maximum number of attempts", meansError},

		{"Spring Boot", `{"timestamp":"2026-11-28T10:00:00.000+00:00","status":404,"error":"Not Found","path":"/v1/x"}`, false, false, "", "", 0},
		{"Spring Boot with a message", `{"timestamp":"2026-11-28T10:00:00.000+00:00","status":503,"error":"Service Unavailable","message":"m","path":"/v1/x"}`, false, false, "", "", 0},
		{"problem details", `{"type":"about:blank","title":"Not Found","status":404,"detail":"x","instance":"/v1"}`, false, false, "", "", 0},
		{"type alone", `{"type":"ErrorResponse"}`, false, false, "", "", 0},
		{"type with a text", `{"type":"ErrorResponse","error":"no"}`, false, false, "", "", 0},
		{"error without type", `{"error":{"code":"UPSTREAM","message":"no healthy upstream"}}`, false, false, "", "", 0},
		{"another type", `{"type":"Error","error":{"code":"x","message":"y"}}`, false, false, "", "", 0},
		{"text and more", `{"error":"Not Found","status":404}`, false, false, "", "", 0},
		{"code, message and more", `{"code":"x","message":"y","requestId":"z"}`, false, false, "", "", 0},
		{"message alone", `{"message":"no Route matched with those values"}`, false, false, "", "", 0},
		{"list", `{"status":-1,"errors":[{"message":"bad date"}]}`, false, false, "", "", 0},
		{"no error", `{"trackingId":"1","status":"PENDING","error":null}`, false, false, "", "", 0},
		{"empty error", `{"error":""}`, false, false, "", "", 0},
		{"null error", `{"error":null}`, false, false, "", "", 0},
		{"empty object", `{"type":"ErrorResponse","error":{}}`, false, false, "", "", 0},
		{"empty code and message", `{"code":"","message":""}`, false, false, "", "", 0},
		{"html", `<html><body>secret</body></html>`, false, false, "", "", 0},
		{"text body", `TooManyRequests`, false, false, "", "", 0},
		{"list at the top", `[{"error":"x"}]`, false, false, "", "", 0},
		{"error of a wrong type", `{"error":[1,2]}`, false, false, "", "", 0},
		{"nothing", ``, false, false, "", "", 0},
	}
	for _, tt := range tests {
		for d, own := range map[Dialect]bool{DialectCAGW: tt.cagw, DialectCertctl: tt.certctl, DialectAuto: tt.cagw || tt.certctl} {
			want, means := refusal{}, meansNothing
			if own {
				want, means = refusal{true, tt.code, tt.message}, tt.meaning
			}
			got := readRefusal([]byte(tt.body), d)
			if got != want {
				t.Errorf("%s in %s: %+v, want %+v", tt.name, d, got, want)
			}
			if m := got.meaning(OpEnroll); m != means {
				t.Errorf("%s in %s: meaning %d, want %d", tt.name, d, m, means)
			}
		}
	}
	revoked := readRefusal([]byte(`{"error":"Certificate is already revoked"}`), DialectCertctl)
	if revoked.meaning(OpRevoke) != meansRevoked || revoked.meaning(OpEnroll) != meansError {
		t.Error("\"already revoked\" has the wrong meaning")
	}
}

func TestReadReason(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][2]string{
		`{"status":"REJECTED","error":{"code":"c","message":"m"}}`:                    {"c", "m"},
		`{"status":"REJECTED","error":"text"}`:                                        {"", "text"},
		`{"status":"REJECTED","message":"not today"}`:                                 {"", "not today"},
		`{"status":"REJECTED","message":{"message":"no","details":["secret"]}}`:       {"", "no"},
		`{"status":"REJECTED","error":{},"message":"` + strings.Repeat("x", 5) + `"}`: {"", "xxxxx"},
		`{"status":"REJECTED"}`:                                                       {"", ""},
		`<html>`:                                                                      {"", ""},
	} {
		if code, message := readReason([]byte(body)); code != want[0] || message != want[1] {
			t.Errorf("%s: %q %q, want %q", body, code, message, want)
		}
	}
}

func TestSaysRevoked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"Certificate is already revoked":                               true,
		"The certificate has already been revoked.":                    true,
		"already revoked":                                              true,
		"Certificate already in revoked state":                         true,
		"is already in the requested state":                            true,
		"Certificate was previously revoked":                           true,
		"certificate revoked already":                                  true,
		"The certificate is revoked.":                                  true,
		"Certificate has been revoked":                                 true,
		"Certificate with serial number 1234abcd is revoked":           true,
		"certificate status is REVOKED":                                true,
		"Status: revoked":                                              true,
		"ALREADY_REVOKED":                                              true,
		"CertificateAlreadyRevoked":                                    true,
		"cannot be revoked: the certificate is already revoked":        true,
		"certificate is already in a revoked state":                    true,
		"Certificate with serial 12 is already in state Revoked":       true,
		"already in status: REVOKED":                                   true,
		"The certificate is in the revoked state":                      true,
		"The certificate's status is revoked":                          true,
		"Cannot revoke a revoked certificate":                          true,
		"The certificate is not in the revoked state":                  false,
		"The CA certificate is in the revoked state":                   false,
		"The certificate is in no revoked state":                       false,
		"The certificate's status is not revoked":                      false,
		"The certificate cannot be revoked":                            false,
		"The certificate could not be revoked, try again":              false,
		"The certificate must be revoked by an administrator":          false,
		"certificate is not already revoked":                           false,
		"certificate is not revoked":                                   false,
		"The client certificate has already been revoked":              false,
		"Your certificate is already revoked":                          false,
		"The issuing CA certificate has been revoked":                  false,
		"The CA is already revoked":                                    false,
		"This certificate is on hold":                                  false,
		"revoked":                                                      false,
		"The administrator was already revoked, certificate unchanged": false,
		"": false,
	} {
		if got := saysRevoked(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
