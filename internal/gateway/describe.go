package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// ErrNotDescribed means that the gateway's dialect cannot describe profiles or certificates.
var ErrNotDescribed = errors.New("gateway: the certctl dialect describes no profiles and no certificates")

// ask reads one resource. read gets the body of a 2xx answer that is no error body. The
// error of read is one short sentence without text of the body. The error of ask is an
// *Error.
func (c *Client) ask(ctx context.Context, query url.Values, read func(body []byte) error, path ...string) error {
	r, err := c.send(ctx, call{op: OpProbe, method: http.MethodGet, path: segments(path...), query: query})
	if err != nil {
		return invalid(OpProbe, "ca_id", "makes no valid URL")
	}
	m, problem := meansNothing, ""
	if r.success() && r.phase == phaseAnswered && !readRefusal(r.body, c.Dialect()).own {
		if err := read(r.body); err == nil {
			m = meansDone
		} else {
			problem = err.Error()
		}
	}
	_, err = c.verdict(OpProbe, r, m, problem)
	return err
}

// askCA reads one resource of a CA in the cagw dialect. An empty caID names the configured
// CA.
func (c *Client) askCA(ctx context.Context, caID string, read func(body []byte) error, below ...string) error {
	d, err := c.dialect(ctx, OpProbe)
	if err != nil {
		return err
	}
	if d.name() != DialectCAGW {
		return ErrNotDescribed
	}
	if caID == "" {
		caID = c.cfg.CAID
	}
	return c.ask(ctx, nil, read, append([]string{"certificate-authorities", caID}, below...)...)
}
