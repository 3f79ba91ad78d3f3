package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
)

// Probe asks for the configured CA. That costs little and proves that the gateway answers,
// accepts the client, and knows the CA. With DialectAuto it also chooses the dialect.
//
// In the cagw dialect it asks for the CA's status (GET …/{caId}/status), or for the CA
// itself if the gateway has no status. A CA that is DOWN is a NotAccepted error of class
// upstream_5xx, whose message names the CA. Every error is an *Error.
func (c *Client) Probe(ctx context.Context) error {
	if c.Dialect() != DialectCAGW || c.statusless.Load() {
		return c.probeCA(ctx)
	}
	r, err := c.get(ctx, "status")
	if err != nil {
		return err
	}
	no := readRefusal(r.body, c.Dialect())
	switch word := readStatus(r); {
	case word == "UP":
		_, err = c.verdict(OpProbe, r, meansDone, "")
		return err
	case word == "DOWN":
		_, err = c.verdict(OpProbe, r, meansDown, clean("the gateway says that CA "+c.cfg.CAID+" is DOWN"))
		return err
	// A client that may not ask for the status may still use the CA.
	case r.success() && r.phase == phaseAnswered && !no.own, r.status == 403, r.status == 404, r.status == 405, r.status == 501:
		err := c.probeCA(ctx)
		if err == nil {
			c.statusless.Store(true)
		}
		return err
	}
	_, err = c.verdict(OpProbe, r, meansNothing, "")
	return err
}

// probeCA asks for the configured CA itself.
func (c *Client) probeCA(ctx context.Context) error {
	r, err := c.get(ctx)
	if err != nil {
		return err
	}
	m, problem := meansNothing, ""
	if r.success() {
		speaks, err := readDialect(r.body)
		switch {
		case err == nil:
			m = meansDone
			c.settled(speaks)
		case readRefusal(r.body, c.Dialect()).own || r.phase != phaseAnswered:
		case c.cfg.Dialect == DialectCertctl && (errors.Is(err, errNoDialect) || len(bytes.TrimSpace(r.body)) == 0):
			m = meansDone // the connector ignores the body; here a JSON object or an empty body is required
		}
		if err != nil {
			problem = err.Error()
		}
	}
	_, err = c.verdict(OpProbe, r, m, problem)
	return err
}

// ProbeEnroll checks, without enrolling, that the client can use the path of enrollments. A
// server in front of the gateway may ask for the client certificate on that path only, by a
// TLS renegotiation or TLS 1.3 post-handshake authentication. ProbeEnroll sends a GET, which
// the gateway need not support: it accepts every answer that is not about the client. The
// error is an *Error that says what the server asked for, or why there was no answer.
func (c *Client) ProbeEnroll(ctx context.Context) error {
	r, err := c.get(ctx, "enrollments")
	if err != nil {
		return err
	}
	m := meansDone
	if r.status == http.StatusUnauthorized || r.status == 0 || foreign(r) == meansCertless {
		m = meansNothing
	}
	if _, err = c.verdict(OpProbe, r, m, ""); m == meansDone {
		return nil
	}
	return err
}

// get asks for a resource of the configured CA.
func (c *Client) get(ctx context.Context, below ...string) (reply, error) {
	path := segments(append([]string{"certificate-authorities", c.cfg.CAID}, below...)...)
	r, err := c.send(ctx, call{op: OpProbe, method: http.MethodGet, path: path})
	if err != nil {
		return reply{}, invalid(OpProbe, "ca_id", "makes no valid URL")
	}
	return r, nil
}

// readStatus returns the word of a CA's status in upper case; "" if the answer is no status.
func readStatus(r reply) string {
	var wire struct {
		Type   string `json:"type"`
		Status text   `json:"status"`
	}
	if !r.success() || parseObject(r.body, &wire) != nil || wire.Type != "CAStatusResponse" {
		return ""
	}
	return strings.ToUpper(strings.TrimSpace(string(wire.Status)))
}
