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

// describeCA serves GET …/certificate-authorities/{caId}, which clients use as a probe.
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
