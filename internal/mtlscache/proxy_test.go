package mtlscache_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// TestProxyRefusesTunnel makes a call through a proxy in a separate process, since net/http
// reads the proxy setting only once.
func TestProxyRefusesTunnel(t *testing.T) {
	if os.Getenv("MTLSCACHE_TEST_PROXIED") != "" {
		ca := newAuthority(t)
		r := &rig{dir: t.TempDir(), ca: ca, first: ca.client(t)}
		r.write(t, r.path("client.pem"), append(r.first.certPEM, r.first.keyPEM...))
		cache, err := mtlscache.New(mtlscache.Config{CertFile: r.path("client.pem"), KeyFile: r.path("client.pem")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&http.Client{Transport: cache}).Get("https://gateway.invalid:8443/v1")
		e, _ := errors.AsType[*mtlscache.ProxyError](err)
		if e == nil || strings.Contains(err.Error(), "secret") {
			t.Fatalf("got %v, want a ProxyError without the password", err)
		}
		fmt.Println("SEEN " + e.Error())
		return
	}
	t.Parallel()
	for _, status := range []int{403, 407, 502} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect {
				t.Errorf("the proxy got %s", r.Method)
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(proxy.Close)
		host := strings.TrimPrefix(proxy.URL, "http://")
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxyRefusesTunnel$", "-test.v")
		cmd.Env = append(os.Environ(), "MTLSCACHE_TEST_PROXIED=1", "HTTPS_PROXY=http://user:secret@"+host, "NO_PROXY=", "no_proxy=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want := fmt.Sprintf("SEEN proxy %s answered the request for a tunnel to gateway.invalid:8443 with %d %s", host, status, http.StatusText(status))
		if !strings.Contains(string(out), want) {
			t.Errorf("got\n%s\nwant %q", out, want)
		}
	}
}

func TestProxySettingIsChecked(t *testing.T) {
	ca := newAuthority(t)
	p := ca.client(t)
	r := &rig{dir: t.TempDir()}
	r.write(t, r.path("client.pem"), append(p.certPEM, p.keyPEM...))
	cfg := mtlscache.Config{CertFile: r.path("client.pem"), KeyFile: r.path("client.pem")}
	for value, want := range map[string]string{
		"":                                  "",
		"proxy.example:3128":                "",
		"http://proxy.example:3128":         "",
		"https://user:secret@proxy.example": "",
		"socks5://proxy.example":            "",
		"http://user:secret@proxy .example": "HTTPS_PROXY: it is not a URL",
		"http://proxy.example:port":         "HTTPS_PROXY: it is not a URL",
		"http://user:sec%zzret@proxy":       "HTTPS_PROXY: it is not a URL",
		"http://:3128":                      "HTTPS_PROXY: it names no host",
		"ftp://proxy.example":               `HTTPS_PROXY: unsupported scheme "ftp"`,
	} {
		t.Setenv("HTTPS_PROXY", value)
		t.Setenv("https_proxy", "")
		cache, err := mtlscache.New(cfg)
		if cache != nil {
			cache.Close()
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", value, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sec")):
			t.Errorf("%q: %v, want %q and no password", value, err, want)
		}
	}
}
