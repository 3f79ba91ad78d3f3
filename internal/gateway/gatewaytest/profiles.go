package gatewaytest

import (
	"net/http"
	"slices"
	"strings"
)

// Requirements are the requirements of a profile in the CAGW dialect, and the kind of its
// certificates. The zero value requires nothing.
type Requirements struct {
	// Properties, AltNames and Variables must be in the enrollment: names of properties, types of
	// subject alternative names, and types of subject variables.
	Properties, AltNames, Variables []string
	// CA: the profile issues certificates of CAs.
	CA bool
}

// trackingProperties are the properties that a CA of Entrust Certificate Services requires.
var trackingProperties = []string{"tracking.requesterName", "tracking.requesterEmail"}

// requirements returns the requirements of a profile.
func (s *Server) requirements(profile string) Requirements {
	r := s.cfg.Requirements[profile]
	if s.cfg.ECS {
		r.Properties = append(slices.Clone(trackingProperties), r.Properties...)
	}
	return r
}

// unmet returns the refusal of an enrollment that does not meet its profile's requirements.
func (r Requirements) unmet(body *enrollBody) *refusal {
	for _, name := range r.Properties {
		switch v := body.Properties[name].(type) {
		case nil:
			return refuse("properties", "The property "+name+" is required")
		case string:
			if strings.TrimSpace(v) == "" {
				return refuse("properties", "The property "+name+" is required")
			}
		}
	}
	for _, kind := range r.AltNames {
		if !slices.ContainsFunc(body.SubjectAltNames, func(n altName) bool { return n.Type == kind }) {
			return refuse("subjectAltNames", "A subject alternative name of type "+kind+" is required")
		}
	}
	for _, kind := range r.Variables {
		if !slices.ContainsFunc(body.SubjectVariables, func(v subjectVariable) bool { return strings.EqualFold(v.Type, kind) }) {
			return refuse("subjectVariables", "The subject variable "+kind+" is required")
		}
	}
	return nil
}

// profileView describes a profile.
type profileView struct {
	ID               string            `json:"id"`
	Name             string            `json:"name"`
	Properties       map[string]string `json:"properties"`
	Protocols        []string          `json:"protocols"`
	RequestedProps   []requirementView `json:"requestedProperties"`
	AltNameReqs      []altNameView     `json:"subjectAltNameRequirements"`
	SubjectVariables []requirementView `json:"subjectVariableRequirements"`
}

type requirementView struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Required    bool   `json:"required"`
}

type altNameView struct {
	Type     string `json:"type"`
	Required bool   `json:"required"`
}

func (s *Server) profileView(id string) profileView {
	view := profileView{
		ID: id, Name: orgName + " " + id, Properties: map[string]string{}, Protocols: []string{},
		RequestedProps: []requirementView{}, AltNameReqs: []altNameView{}, SubjectVariables: []requirementView{},
	}
	if s.cfg.Undescribed {
		return view
	}
	r := s.requirements(id)
	for _, name := range r.Properties {
		view.RequestedProps = append(view.RequestedProps, requirementView{name, "Required by the CA", true})
	}
	for _, kind := range r.AltNames {
		view.AltNameReqs = append(view.AltNameReqs, altNameView{kind, true})
	}
	for _, kind := range r.Variables {
		view.SubjectVariables = append(view.SubjectVariables, requirementView{kind, "Part of the subject", true})
	}
	return view
}

// listProfiles serves GET …/{caId}/profiles.
func (s *Server) listProfiles(*call) *answer {
	list := make([]profileView, 0, len(s.cfg.Profiles))
	for _, id := range s.cfg.Profiles {
		list = append(list, s.profileView(id))
	}
	return jsonAnswer(http.StatusOK, struct {
		Type     string        `json:"type"`
		Message  message       `json:"message"`
		Profiles []profileView `json:"profiles"`
	}{"ProfilesResponse", message{Message: "", Details: []string{}}, list})
}

// describeProfile serves GET …/{caId}/profiles/{profileId}.
func (s *Server) describeProfile(c *call) *answer {
	if !slices.Contains(s.cfg.Profiles, c.id) {
		return s.refusalAnswer(c, &refusal{http.StatusNotFound, "cagw-4021", "Profile not found", "profileId"})
	}
	return jsonAnswer(http.StatusOK, struct {
		Message message     `json:"message"`
		Profile profileView `json:"profile"`
	}{message{Details: []string{}}, s.profileView(c.id)})
}
