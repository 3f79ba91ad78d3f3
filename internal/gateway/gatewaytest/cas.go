package gatewaytest

import (
	"net/http"
	"slices"
	"strings"
)

// caView describes a CA in the CAGW dialect.
type caView struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Properties  map[string]string `json:"properties"`
	Certificate *certData         `json:"certificate,omitempty"`
	Chain       []certData        `json:"chain"`
}

// fields reads the $fields parameter.
func (c *call) fields() []string {
	return strings.Split(c.query.Get("$fields"), ",")
}

func (s *Server) caView(id string) caView {
	return caView{
		ID: id, Name: orgName + " " + id, Chain: []certData{},
		Properties: map[string]string{"connector-name": "com.example.Simulator", "type": "issuing"},
	}
}

// listCAs serves GET …/certificate-authorities.
func (s *Server) listCAs(c *call) *answer {
	withCert := slices.ContainsFunc(c.fields(), func(f string) bool { return strings.HasPrefix(f, "caList.certificate") })
	list := make([]caView, 0, len(s.cfg.CAIDs))
	for _, id := range s.cfg.CAIDs {
		ca := s.caView(id)
		if withCert {
			ca.Certificate = &s.chains.good.data[0]
		}
		list = append(list, ca)
	}
	return jsonAnswer(http.StatusOK, struct {
		Type   string   `json:"type"`
		CAList []caView `json:"caList"`
	}{"CAListResponse", list})
}

// describeCA serves GET …/certificate-authorities/{caId}: what a client probes.
func (s *Server) describeCA(c *call) *answer {
	if s.cfg.Dialect == CertCtl {
		return jsonAnswer(http.StatusOK, map[string]string{"caId": c.caID, "name": orgName + " " + c.caID})
	}
	chain := s.chains.good.data
	if c.v.flaw == flawChain {
		chain = s.chains.expired.data
	}
	ca := s.caView(c.caID)
	for _, f := range c.fields() {
		switch {
		case strings.HasPrefix(f, "ca.certificate"):
			ca.Certificate = &chain[0]
		case strings.HasPrefix(f, "ca.chain"):
			ca.Chain = chain[1:]
		}
	}
	return jsonAnswer(http.StatusOK, struct {
		Type string `json:"type"`
		CA   caView `json:"ca"`
	}{"CAResponse", ca})
}

// profileView describes a profile.
type profileView struct {
	ID                  string            `json:"id"`
	Name                string            `json:"name"`
	Properties          map[string]string `json:"properties"`
	Protocols           []string          `json:"protocols"`
	RequestedProperties []requirement     `json:"requestedProperties"`
	AltNames            []requirement     `json:"subjectAltNameRequirements"`
	SubjectVariables    []requirement     `json:"subjectVariableRequirements"`
}

type requirement struct {
	Name        string `json:"name,omitempty"`
	Type        string `json:"type,omitempty"`
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required"`
}

func newProfileView(id string) profileView {
	return profileView{
		ID: id, Name: id, Properties: map[string]string{}, Protocols: []string{},
		RequestedProperties: []requirement{},
		AltNames:            []requirement{{Type: "dNSName"}, {Type: "iPAddress"}},
		SubjectVariables:    []requirement{{Name: "cn", Description: "Common name", Required: true}},
	}
}

// listProfiles serves GET …/profiles.
func (s *Server) listProfiles(*call) *answer {
	list := make([]profileView, 0, len(s.cfg.Profiles))
	for _, id := range s.cfg.Profiles {
		list = append(list, newProfileView(id))
	}
	return jsonAnswer(http.StatusOK, struct {
		Type     string        `json:"type"`
		Message  message       `json:"message"`
		Profiles []profileView `json:"profiles"`
	}{"ProfilesResponse", message{"Profiles were found.", []string{}}, list})
}

// describeProfile serves GET …/profiles/{profileId}.
func (s *Server) describeProfile(c *call) *answer {
	if !slices.Contains(s.cfg.Profiles, c.id) {
		return s.refusalAnswer(c, &refusal{http.StatusNotFound, "cagw-4021", "Profile not found", "profileId"})
	}
	return jsonAnswer(http.StatusOK, struct {
		Type    string      `json:"type"`
		Message message     `json:"message"`
		Profile profileView `json:"profile"`
	}{"ProfileResponse", message{"Profile was found.", []string{}}, newProfileView(c.id)})
}

// describeProperties serves GET …/properties.
func (s *Server) describeProperties(*call) *answer {
	return jsonAnswer(http.StatusOK, map[string]any{
		"type":                    "CAPropertiesResponse",
		"CAPropertiesInformation": map[string]any{"properties": map[string]string{}},
	})
}
