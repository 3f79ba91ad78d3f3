package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// idleLimiter is a transport that can be told to close connections that no call uses for
// so long. A longer limit than the one in force changes nothing.
type idleLimiter interface{ LimitIdle(time.Duration) }

// obeyKeepAlive has the transport drop idle connections before the server does, where an
// HTTP/1.1 answer says when that is. A request that meets the closing of its connection
// may be written to it, and then its fate is unknown.
func (c *Client) obeyKeepAlive(resp *http.Response) {
	if resp.ProtoMajor != 1 {
		return
	}
	limit := keepAliveLimit(resp.Header.Values("Keep-Alive"))
	if limit == 0 || limit == time.Duration(c.idleLimit.Swap(int64(limit))) {
		return
	}
	if t, ok := c.http.Transport.(idleLimiter); ok {
		t.LimitIdle(limit)
	}
}

// keepAliveLimit reads the timeout of Keep-Alive headers ("timeout=5, max=100"), less a
// margin for the way there and for timers that are late: a second, or a tenth, and of one
// second the half. It is 0 where there is none.
func keepAliveLimit(values []string) time.Duration {
	for param := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "timeout") {
			continue
		}
		seconds, err := strconv.ParseInt(strings.Trim(strings.TrimSpace(value), `"`), 10, 32)
		if err != nil || seconds <= 0 {
			continue
		}
		d := time.Duration(seconds) * time.Second
		return d - min(max(time.Second, d/10), d/2)
	}
	return 0
}
