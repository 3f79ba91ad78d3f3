package gatewaytest

import (
	"net/http"
	"time"
)

// describeStatus serves GET …/certificate-authorities/{caId}/status.
func (s *Server) describeStatus(c *call) *answer {
	word := "UP"
	if c.v.down {
		word = "DOWN"
	}
	return jsonAnswer(http.StatusOK, map[string]string{"type": "CAStatusResponse", "status": word})
}

// describeHealth serves GET of the health endpoint, which is outside /v1.
func (s *Server) describeHealth(*call) *answer {
	return jsonAnswer(http.StatusOK, struct {
		Status string   `json:"status"`
		Groups []string `json:"groups"`
	}{"UP", []string{"liveness", "readiness"}})
}

// springAnswer returns the error body of Spring Boot itself, which answers if the gateway's own
// code does not.
func springAnswer(c *call, status int) *answer {
	return jsonAnswer(status, map[string]any{
		"timestamp": c.now.UTC().Format(time.RFC3339Nano), "status": status,
		"error": http.StatusText(status), "path": "/cagw/v1/certificate-authorities/" + c.caID,
	})
}
