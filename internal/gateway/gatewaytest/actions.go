package gatewaytest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// reasons maps the gateway's revocation reasons to the names of the CertCtl dialect.
func reasons() map[string]string {
	return map[string]string{
		"unspecified":          "Unspecified",
		"keyCompromise":        "KeyCompromise",
		"caCompromise":         "CACompromise",
		"affiliationChanged":   "AffiliationChanged",
		"superseded":           "Superseded",
		"cessationOfOperation": "CessationOfOperation",
		"certificateHold":      "CertificateHold",
		"privilegeWithdrawn":   "PrivilegeWithdrawn",
	}
}

// certificateForChange is certificate, but accepts an unknown serial with Config.AcceptUnknownSerials.
func (s *Server) certificateForChange(c *call) (uint32, order, []byte, *refusal) {
	num, o, serial, no := s.certificate(c)
	if no != nil && no.status == http.StatusNotFound && s.cfg.AcceptUnknownSerials {
		no = nil
	}
	return num, o, serial, no
}

// revokeFlat serves PUT …/certificates/{decimal}/revoke.
func (s *Server) revokeFlat(c *call) *answer {
	var body struct {
		Reason string `json:"revocationReason"`
	}
	if json.Unmarshal(c.body, &body) != nil {
		return s.refusalAnswer(c, refuse("body", "The request body is not the JSON of a revocation"))
	}
	reason := ""
	for name, flat := range reasons() {
		if body.Reason == flat {
			reason = name
		}
	}
	if reason == "" {
		return s.refusalAnswer(c, refuse("revocationReason", "The revocation reason is unknown"))
	}
	num, _, serial, no := s.certificateForChange(c)
	if no != nil {
		return s.refusalAnswer(c, no)
	}
	if err := s.store.act(num, serial, revoked, reason, "", c.now); err != nil {
		return s.internalError(c)
	}
	return &answer{status: http.StatusNoContent}
}

// actionBody is the body of POST …/actions.
type actionBody struct {
	Action struct {
		Type           string          `json:"type"`
		Reason         string          `json:"reason"`
		Comment        string          `json:"comment"`
		IssueCRL       json.RawMessage `json:"issueCrl"` // clients send the text "true"
		CompromiseDate string          `json:"compromiseDate"`
	} `json:"action"`
}

// actionAnswer is the answer to POST …/actions.
type actionAnswer struct {
	Type   string     `json:"type"`
	Action actionView `json:"action"`
}

type actionView struct {
	Type                string            `json:"type"`
	ID                  string            `json:"id"`
	Properties          map[string]string `json:"properties"`
	Comment             string            `json:"comment"`
	Status              string            `json:"status"`
	SucceedIfAlreadySet bool              `json:"succeedIfAlreadyInRequestedState"`
	Reason              string            `json:"reason,omitempty"`
	CompromiseDate      string            `json:"compromiseDate,omitempty"`
}

// parseAction reads an action and the standing to which it leads.
func parseAction(data []byte) (*actionBody, standing, *refusal) {
	var body actionBody
	if json.Unmarshal(data, &body) != nil {
		return nil, 0, refuse("body", "The request body is not the JSON of an action")
	}
	a := &body.Action
	var to standing
	switch a.Type {
	case "RevokeAction":
		to = revoked
		if a.Reason == "" {
			a.Reason = "unspecified"
		}
		if _, ok := reasons()[a.Reason]; !ok {
			return nil, 0, refuse("action.reason", "The revocation reason is unknown")
		}
		if a.Reason == "certificateHold" {
			to = held
		}
	case "HoldAction":
		to, a.Reason = held, "certificateHold"
	case "UnholdAction":
		to, a.Reason = valid, ""
	case "RenewAction", "ReissueAction", "ReactivateAction":
		return nil, 0, &refusal{http.StatusNotImplemented, "cagw-5010", "The action is not supported by this CA", "action.type"}
	default:
		return nil, 0, refuse("action.type", "The action type is unknown")
	}
	return &body, to, nil
}

// act serves POST …/certificates/{hex}/actions.
func (s *Server) act(c *call) *answer {
	body, to, no := parseAction(c.body)
	if no != nil {
		return s.refusalAnswer(c, no)
	}
	num, o, serial, no := s.certificateForChange(c)
	if no != nil {
		return s.refusalAnswer(c, no)
	}
	if no := s.change(num, o, serial, body, to, c.now); no != nil {
		return s.refusalAnswer(c, no)
	}
	return s.actionDone(body, c.now)
}

// change brings a certificate to a standing, or returns the refusal.
func (s *Server) change(num uint32, o order, serial []byte, body *actionBody, to standing, now time.Time) *refusal {
	if o.standing == revoked && to != revoked {
		return &refusal{http.StatusConflict, "cagw-4091", "The certificate is revoked for good", ""}
	}
	if err := s.store.act(num, serial, to, body.Action.Reason, body.Action.Comment, now); err != nil {
		return &refusal{http.StatusInternalServerError, "cagw-5000", "Internal error", ""}
	}
	return nil
}

// newActionID returns a new UUID: each action has its own, also on the same certificate.
func newActionID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// actionDone returns the answer to an action that took effect.
func (s *Server) actionDone(body *actionBody, now time.Time) *answer {
	a := body.Action
	view := actionView{
		Type: a.Type, ID: newActionID(), Properties: map[string]string{},
		Comment: a.Comment, Status: "COMPLETED", SucceedIfAlreadySet: true,
		Reason: a.Reason, CompromiseDate: a.CompromiseDate,
	}
	if view.CompromiseDate == "" && a.Type == "RevokeAction" {
		view.CompromiseDate = now.UTC().Format(time.RFC3339Nano)
	}
	return jsonAnswer(http.StatusOK, actionAnswer{Type: "ActionResponse", Action: view})
}
