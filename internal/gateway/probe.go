package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
)

// Probe asks for the configured CA, which costs little and proves that the gateway
// answers and knows both the client and the CA. It also settles DialectAuto.
//
// In the cagw dialect it asks for the CA's status (GET …/{caId}/status), and for the CA
// itself where the gateway has no status. A CA that is DOWN is a NotAccepted error of
// class upstream_5xx, whose message names the CA.
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
	// Whether the client may ask for the status says nothing of the rest.
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
			m = meansDone // its connector ignores the body; a page that is none of the gateway's is one here
		}
		if err != nil {
			problem = err.Error()
		}
	}
	_, err = c.verdict(OpProbe, r, m, problem)
	return err
}

// ProbeEnroll finds out, without enrolling, whether the path of enrollments can be used:
// a server in front of the gateway may ask for the client certificate there alone, by a
// TLS renegotiation or TLS 1.3 post-handshake authentication. It sends a GET, which the
// gateway need not know: every answer is fine but one about the client. The error is an
// *Error that says what was asked for, or why there was no answer.
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

// get asks for something of the configured CA.
func (c *Client) get(ctx context.Context, below ...string) (reply, error) {
	path := segments(append([]string{"certificate-authorities", c.cfg.CAID}, below...)...)
	r, err := c.send(ctx, call{op: OpProbe, method: http.MethodGet, path: path})
	if err != nil {
		return reply{}, invalid(OpProbe, "ca_id", "makes no valid URL")
	}
	return r, nil
}

// readStatus returns the word of a CA's status in upper case; "" where the answer is none.
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
