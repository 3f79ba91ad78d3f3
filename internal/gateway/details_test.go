package gateway

import (
	"math/big"
	"net/http"
	"testing"
)

func TestSubjectWithSlashes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/C=CA/O=Example, Inc./CN=a.example": `CN=a.example,O=Example\, Inc.,C=CA`,
		"/CN=a/b":                            "CN=a/b",
		`/O=A\/B/CN=x`:                       "CN=x,O=A/B",
		"/CN= a":                             `CN=\ a`,
		"/O=1/2=3/CN=x":                      "CN=x,2=3,O=1", // a number may be the type
		"/O=http://x.example/CN=x":           "CN=x,O=http://x.example",
	} {
		if got := fromSlashes(in); got != want {
			t.Errorf("fromSlashes(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestExtendedKeyUsage(t *testing.T) {
	t.Parallel()
	for _, usage := range []string{"", "server", "1", "1.2.x", "1.02.3", "3.1.1", "1.-2"} {
		if e, err := ExtendedKeyUsage([]string{usage}); err == nil {
			t.Errorf("ExtendedKeyUsage(%q) = %x", usage, e.Value)
		}
	}
}

// TestWhatCertctlHasNoPlaceFor checks that the client refuses, unsent, what the dialect cannot
// express.
func TestWhatCertctlHasNoPlaceFor(t *testing.T) {
	t.Parallel()
	csr := newCSR(t)
	c := newClient(t, Config{Dialect: DialectCertctl}, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent: %s", r.URL) })
	for _, e := range []Enrollment{
		{CSR: csr, Properties: map[string]any{"a": "b"}},
		{CSR: csr, SubjectVariables: []SubjectVariable{{Type: "cn", Value: "x"}}},
		{CSR: csr, Extensions: []Extension{MustStaple()}},
		{CSR: csr, Extensions: []Extension{MustStaple(), MustStaple()}},
	} {
		if _, err := c.Enroll(t.Context(), e); FateOf(err) != Refused || err.(*Error).Class != classValidation {
			t.Errorf("%v", err)
		}
	}
	if err := c.Revoke(t.Context(), Revocation{Serial: big.NewInt(7), Reason: RemoveFromCRL}); FateOf(err) != Refused {
		t.Errorf("%v", err)
	}
}

func TestClientID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "tenant-7"} {
		c := newClient(t, Config{Dialect: DialectCertctl, ClientID: id}, func(w http.ResponseWriter, r *http.Request) {
			if got, ok := r.Header["Ca-Client-Id"]; ok != (id != "") || ok && got[0] != id {
				t.Errorf("ca-client-id %q, want %q", got, id)
			}
			always(200, `{"caId":"ca-1"}`)(w, r)
		})
		if err := c.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
