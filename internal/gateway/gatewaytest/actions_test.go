package gatewaytest_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// certState is the part of a certificate's description that the tests check.
type certState struct {
	Certificate struct {
		Status, SerialNumber, CertificateData string
		RevocationInfo                        *struct{ Reason, Comment string }
	}
}

func TestNestedActions(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, SerialDigits: 40})
	got := e.enrollNested(request(csrOf(t, "a.example.net")), 200)
	serial := got.Enrollment.SerialNumber
	if len(serial) != 40 {
		t.Fatalf("got serial %q, want 40 digits", serial)
	}
	act := func(kind, reason string, status int) map[string]any {
		t.Helper()
		action := map[string]any{"type": kind, "comment": "why", "issueCrl": "true"}
		if reason != "" {
			action["reason"] = reason
		}
		r := e.must("POST", e.ca("/certificates/"+serial+"/actions"), map[string]any{"action": action}, status)
		return decode[map[string]any](t, r)
	}
	state := func(id string) certState {
		t.Helper()
		return decode[certState](t, e.must("GET", e.ca("/certificates/"+id), nil, 200))
	}
	if s := state(serial); s.Certificate.Status != "normal" || s.Certificate.RevocationInfo != nil {
		t.Errorf("got %+v", s)
	}
	act("HoldAction", "", 200)
	if s := state(serial).Certificate.Status; s != "held" {
		t.Errorf("after hold: got %q", s)
	}
	act("UnholdAction", "", 200)
	if s := state(serial).Certificate.Status; s != "normal" {
		t.Errorf("after unhold: got %q", s)
	}
	answer := act("RevokeAction", "superseded", 200)
	action, _ := answer["action"].(map[string]any)
	if answer["type"] != "ActionResponse" || action["status"] != "COMPLETED" || action["succeedIfAlreadyInRequestedState"] != true {
		t.Errorf("got %v", answer)
	}
	act("RevokeAction", "keyCompromise", 200) // a repeat succeeds, and the first reason stays
	// The case of the digits and the padding do not matter.
	s := state(strings.ToUpper(strings.TrimLeft(serial, "0")))
	if s.Certificate.Status != "revoked" || s.Certificate.RevocationInfo.Reason != "superseded" || s.Certificate.SerialNumber != serial {
		t.Errorf("got %+v", s)
	}
	act("UnholdAction", "", 409)
	act("RevokeAction", "KeyCompromise", 400)
	act("RenewAction", "", 501)
	act("NoAction", "", 400)
	if st := e.gw.Stats(); st.Active != 0 || st.Issued != 1 {
		t.Errorf("got %+v", st)
	}
}

// events reads a listing to its end and counts its pages.
func (e *env) events(query string) (serials, actions []string, pages int) {
	e.t.Helper()
	next := ""
	for {
		got := decode[struct {
			Type               string
			Events             []struct{ Action, SerialNumber, Certificate, EventDate string }
			NextPageIndex      string
			MorePages, HasMore *bool
		}](e.t, e.must("GET", e.ca("/certificate-events?"+query+next), nil, 200))
		if got.Type != "CertificateEventsResponse" {
			e.t.Fatalf("got type %q", got.Type)
		}
		pages++
		for _, ev := range got.Events {
			serials, actions = append(serials, ev.SerialNumber), append(actions, ev.Action)
			if strings.Contains(query, "-events.certificate") != (ev.Certificate == "") {
				e.t.Errorf("event %q: certificate body %q", ev.SerialNumber, ev.Certificate)
			}
		}
		more := got.MorePages
		if more == nil {
			more = got.HasMore
		}
		if !*more {
			return serials, actions, pages
		}
		next = "&nextPageIndex=" + url.QueryEscape(got.NextPageIndex)
	}
}

func TestNestedEvents(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"morePages", "hasMore", "both"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			e := setup(t, gatewaytest.Config{
				Dialect: gatewaytest.CAGW, EventPageSize: 4, EventFlag: flag, EmptyEventPages: 2,
			})
			var want []string
			for range 9 {
				want = append(want, e.enrollNested(request(csrOf(t, "a.example.net")), 200).Enrollment.SerialNumber)
			}
			// An approved order appears without a poll.
			held := e.enrollNested(request(csrOf(t, "hold-a.example.net")), 201).Enrollment.ID
			if err := e.gw.Approve(held); err != nil {
				t.Fatal(err)
			}
			got, _, pages := e.events("startDate=2000-01-01T00:00:00.00Z&preferredPageSize=100")
			if len(got) != 10 || !slices.Equal(got[:9], want) || pages != 5 {
				t.Errorf("got %d events on %d pages, want 10 on 5 (2 empty, 3 of 4 or fewer)", len(got), pages)
			}
			e.must("POST", e.ca("/certificates/"+want[0]+"/actions"),
				map[string]any{"action": map[string]any{"type": "RevokeAction", "reason": "superseded"}}, 200)
			after := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
			if got, _, _ := e.events("startDate=" + after); len(got) != 0 {
				t.Errorf("got %d events from the future", len(got))
			}
			got, actions, _ := e.events("startDate=2000-01-01&%24fields=-events.certificate")
			if len(got) != 11 || actions[10] != "revoked" || got[10] != want[0] {
				t.Errorf("got %q %q, want a revocation last", got, actions)
			}
			e.must("GET", e.ca("/certificate-events?startDate=yesterday"), nil, 400)
			e.must("GET", e.ca("/certificate-events?nextPageIndex=x"), nil, 400)
		})
	}
}

func TestUnknownSerials(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Dialect: gatewaytest.Both, AcceptUnknownSerials: true})
	e.must("PUT", e.ca("/certificates/88001/revoke"), map[string]string{"revocationReason": "Superseded"}, 204)
	e.must("POST", e.ca("/certificates/0157C1/actions"),
		map[string]any{"action": map[string]any{"type": "RevokeAction", "reason": "keyCompromise"}}, 200)
	got := e.gw.Revocations()
	if len(got) != 1 || got[0].Serial != "157c1" || got[0].Asked != 2 || got[0].TrackingID != "" || got[0].Reason != "superseded" {
		t.Errorf("got %+v, want one revocation that was asked for twice", got)
	}
}
