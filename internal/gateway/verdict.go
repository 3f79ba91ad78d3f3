package gateway

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// verdict looks a reply up in the triage table. It returns the end of the row that decides,
// and an *Error if the end has a fate. problem says what could not be understood.
func (c *Client) verdict(op Op, r reply, m meaning, problem string) (end, error) {
	var no refusal
	if r.status != 0 && m == meansNothing || !r.success() {
		no = readRefusal(r.body, c.Dialect())
		switch {
		case m == meansYoung:
		case no.own:
			// A 5xx means that the licence server is down, not that the limit is reached.
			if m = no.meaning(op); m == meansLicence && all5xx.has(r.status) {
				m = meansError
			}
		case r.status != 0 && !r.success():
			m = foreign(r)
		}
	}
	e := judge(op, r.phase, r.status, m).end
	if e.fate == 0 {
		return e, nil
	}
	out := &Error{
		Op: op, Fate: e.fate, Class: e.class, HTTPStatus: r.status, RetryAfter: r.wait, Own: no.own || m == meansDown,
		Written: r.written && op == OpEnroll, Code: no.code, Message: no.message, cause: r.err,
	}
	if out.Class == "" {
		out.Class = classNetwork
		if timedOut(r.err) {
			out.Class = classTimeout
		}
	}
	if out.Message == "" {
		out.Message = r.message(m, problem)
	}
	return e, out
}

// message describes the failure if the gateway gave no message.
func (r reply) message(m meaning, problem string) string {
	status := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", r.status, http.StatusText(r.status)))
	switch {
	case r.phase == phaseOversize:
		return "the answer is over 4 MiB"
	case r.signal != signalNone:
		return clean(string(r.signal))
	case r.err != nil && r.unproved && r.phase != phaseBadClient:
		return clean("the new connection broke; the gateway may have refused the client certificate: " + lost(r.err))
	case r.err != nil:
		return lost(r.err)
	case r.success():
		return problem
	case r.status >= 300 && r.status <= 399:
		return "redirects are refused; check gateway.url"
	case m == meansCertless && postHandshakePage.Match(r.body):
		return clean(status + ": " + string(signalPostHandshake))
	case m == meansCertless:
		return status + " about the client's certificate"
	case r.phase == phaseEarly:
		return status + ", before the request was written to its end"
	case m == meansForeign && r.status != http.StatusUnauthorized && r.status != http.StatusTooManyRequests:
		return status + ", not the gateway's error body: a proxy may have answered"
	}
	return status
}

// certificatePage matches pages about a client certificate. nginx sends "The SSL certificate
// error" and "No required SSL certificate was sent" with status 400. Apache httpd sends
// "Cannot perform Post-Handshake Authentication" with status 403. Neither passes such a
// request on.
var (
	certificatePage   = regexp.MustCompile(`(?i)ssl certificate|post-handshake authentication`)
	postHandshakePage = regexp.MustCompile(`(?i)post-handshake authentication`)
)

// foreign returns the meaning of an answer that is neither a 2xx nor the gateway's own error
// body. nginx uses 495 and 496 for a client certificate that is bad or missing.
func foreign(r reply) meaning {
	if r.status == 495 || r.status == 496 || certificatePage.Match(r.body[:min(len(r.body), 4096)]) {
		return meansCertless
	}
	return meansForeign
}
