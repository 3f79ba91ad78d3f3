package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// verdict asks the triage table about a reply. It returns the deciding row's end, or
// an *Error if that is a fate. problem says what could not be understood.
func (c *Client) verdict(ctx context.Context, op Op, r reply, m meaning, problem string) (end, error) {
	var no refusal
	if r.status != 0 && m == meansNothing || !r.success() {
		if body := readRefusal(r.body); body.given {
			no = body
		}
		switch {
		case m == meansYoung:
		case no.given:
			m = no.meaning(op)
		case all4xx.has(r.status):
			m = foreign(r)
		}
	}
	e := judge(op, r.phase, r.status, m).end
	// What would fail the request for good must have been said by the gateway.
	var probe *Error
	if m == meansForeign && e.fate == Refused && slices.Contains(probed, op) {
		if probe = c.probeFailure(ctx); probe != nil {
			m = meansAway
			if probe.Fate == Unauthorized {
				m = meansStranger
			}
			e = judge(op, r.phase, r.status, m).end
		}
	}
	if e.fate == 0 {
		return e, nil
	}
	out := &Error{
		Op: op, Fate: e.fate, Class: e.class, HTTPStatus: r.status, RetryAfter: r.wait,
		Code: no.code, Message: no.message, cause: r.err, own: no.given,
	}
	if out.Class == "" {
		out.Class = classNetwork
		if timedOut(r.err) {
			out.Class = classTimeout
		}
	}
	if out.Message == "" {
		out.Message = r.message(e, m, problem)
	}
	if probe != nil {
		out.RetryAfter = max(out.RetryAfter, probe.RetryAfter)
		out.Message = clean(out.Message + ", and a probe fails: " + probe.Message)
	}
	return e, out
}

// message says what happened where the gateway does not.
func (r reply) message(e end, m meaning, problem string) string {
	status := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", r.status, http.StatusText(r.status)))
	switch {
	case r.phase == phaseOversize:
		return "the answer is over 4 MiB"
	case r.err != nil && r.unproved && r.phase != phaseBadClient:
		return clean("the new connection broke; was the client certificate refused? " + lost(r.err))
	case r.err != nil:
		return lost(r.err)
	case r.success():
		return problem
	case r.status >= 300 && r.status <= 399:
		return "redirects are refused; is the URL right?"
	case m == meansCertless:
		return status + " about the client's certificate"
	case m == meansAway, m == meansStranger, m == meansForeign && (e.fate == Refused || e.fate == Unreadable):
		return status + " without an error body"
	}
	return status
}

// probeFailure returns what is wrong with the gateway; nil if it answers a probe, be it
// with a refusal of its own.
func (c *Client) probeFailure(ctx context.Context) *Error {
	e, failed := errors.AsType[*Error](c.Probe(ctx))
	if !failed || e.own && e.Fate == Refused {
		return nil
	}
	return e
}

// certificatePage matches the pages of nginx about a client certificate, which it sends
// with status 400: "The SSL certificate error", "No required SSL certificate was sent".
var certificatePage = regexp.MustCompile(`(?i)ssl certificate`)

// foreign returns what a 4xx without an error body means. 495 and 496 are nginx's own
// for a client certificate that is bad or missing.
func foreign(r reply) meaning {
	if r.status == 495 || r.status == 496 || certificatePage.Match(r.body[:min(len(r.body), 4096)]) {
		return meansCertless
	}
	return meansForeign
}
