package gateway

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A CA's certificates come in order. The client reads them again once they are old, at most
// every ten seconds, and keeps the old ones if it cannot.
func TestCA(t *testing.T) {
	t.Parallel()
	made := newTestCA(t)
	synctest.Test(t, func(t *testing.T) {
		down, fetches := true, 0
		c := fakeClient(t, func(*http.Request) (int, string) {
			if fetches++; down {
				return 503, ""
			}
			return 200, asJSON(t, jsonMap{"ca": jsonMap{
				"certificate": jsonMap{"certificateData": b64(made.issuing)},
				"chain":       []jsonMap{{"certificateData": "bm9uZQ=="}, {"certificateData": b64(made.root)}, {"certificateData": b64(made.issuing)}},
			}})
		})
		read := func(what string, wantErr bool, fetched int) {
			t.Helper()
			ca, err := c.CA(t.Context(), "")
			if (err != nil) != wantErr || fetches != fetched {
				t.Fatalf("%s: %v, %d fetches; want an error: %v, and %d", what, err, fetches, wantErr, fetched)
			}
			if err != nil {
				return
			}
			if ca.ID != "ca-1" || !bytes.Equal(ca.Certificate, made.issuing.Raw) || len(ca.Chain) != 1 || !bytes.Equal(ca.Chain[0], made.root.Raw) || ca.Warning == "" {
				t.Errorf("%s: CA %s with %d certificates above, warning %q", what, ca.ID, len(ca.Chain), ca.Warning)
			}
		}
		read("gateway down", true, 1)
		if _, fresh, ok := c.KnownCA("ca-1"); fresh || ok {
			t.Error("KnownCA returns certificates that were never read")
		}
		down = false
		read("not asked again at once", true, 1)
		time.Sleep(chainPause)
		read("there", false, 2)
		if _, fresh, ok := c.KnownCA("ca-1"); !fresh || !ok {
			t.Error("certificates read a moment ago are unknown or not fresh")
		}
		time.Sleep(caAge)
		if _, fresh, ok := c.KnownCA(""); fresh || !ok {
			t.Error("certificates read ten minutes ago are unknown or still fresh")
		}
		down = true
		read("kept", false, 3)
		if _, fresh, _ := c.KnownCA(""); fresh {
			t.Error("a failed read makes the certificates fresh again")
		}
	})
}

func TestCAInTheCertctlDialect(t *testing.T) {
	t.Parallel()
	c, err := New(Config{URL: "https://gateway", CAID: "ca-1", Dialect: DialectCertctl}, &http.Client{Transport: pathGateway(func(*http.Request) (int, string) {
		t.Error("the gateway was asked")
		return 500, ""
	})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CA(t.Context(), ""); !errors.Is(err, ErrNoCertificates) {
		t.Errorf("got %v, want ErrNoCertificates", err)
	}
}

// A producer may ask for any number of CAs. Those that the gateway does not have take only
// bounded memory.
func TestUnknownCAsAreNotKept(t *testing.T) {
	t.Parallel()
	var cache chainCache
	for i := range 2 * maxChains {
		cache.put(string(rune('a'+i)), bundle{}, nil, errNoDialect)
	}
	if n := len(cache.byCA); n != maxChains {
		t.Errorf("%d CAs are kept, want %d", n, maxChains)
	}
}
