package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// idleLimiter is a transport with a limit for idle connections. LimitIdle lowers it; a longer
// limit than the one in force changes nothing.
type idleLimiter interface{ LimitIdle(time.Duration) }

// obeyKeepAlive makes the transport close idle connections before the server does, if an
// HTTP/1.1 answer says when that is. A request that is written while the server closes the
// connection is indeterminate.
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
// margin for the network and for late timers. The margin is a second or a tenth, whichever
// is longer, but half of the timeout at most. It returns 0 without a timeout.
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
