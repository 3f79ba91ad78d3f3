package mtlscache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// A ProxyError means that the proxy itself refused the request for a tunnel (CONNECT).
// The call did not reach the gateway.
type ProxyError struct {
	// Proxy and Target are host and port, without credentials.
	Proxy, Target string
	// Status is the proxy's status line, such as "407 Proxy Authentication Required".
	Status string
}

// Error names the proxy, the target of the tunnel and the proxy's answer.
func (e *ProxyError) Error() string {
	return fmt.Sprintf("proxy %s answered the request for a tunnel to %s with %s; this is the proxy's answer, not the gateway's: check HTTPS_PROXY and NO_PROXY",
		e.Proxy, e.Target, e.Status)
}

// onProxyAnswer is the http.Transport.OnProxyConnectResponse. It returns a ProxyError for any
// answer but 200.
func onProxyAnswer(_ context.Context, proxy *url.URL, req *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyError{Proxy: proxy.Host, Target: req.Host, Status: strings.TrimSpace(res.Status)}
}

// checkProxySetting returns an error for a proxy setting that cannot be used. net/http ignores
// a setting that it cannot parse, and would connect to the gateway directly.
func checkProxySetting() error {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		// The value may hold a password, so no error quotes it.
		if err := checkProxyURL(value); err != nil {
			return fmt.Errorf("reading the proxy setting %s: %w; set it to http://host:port", name, err)
		}
		return nil // the first one counts
	}
	return nil
}

func checkProxyURL(value string) error {
	if !strings.Contains(value, "://") {
		value = "http://" + value // as net/http does
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case u.Hostname() == "":
		return errors.New("it names no host")
	case !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		return fmt.Errorf("unsupported scheme %q (supported: http, https, socks5, socks5h)", u.Scheme)
	}
	return nil
}
