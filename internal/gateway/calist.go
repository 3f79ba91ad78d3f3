package gateway

import (
	"context"
	"net/http"
)

// CAs returns the identifiers of the CAs that the gateway lists, for the client that asks.
// The list is never empty. The error is an *Error; a gateway of the certctl dialect, or one
// in front of which a proxy answers, may have no list, and that is an error too.
func (c *Client) CAs(ctx context.Context) ([]string, error) {
	r, err := c.send(ctx, call{op: OpProbe, method: http.MethodGet, path: segments("certificate-authorities")})
	if err != nil {
		return nil, err
	}
	var ids []string
	m, problem := meansNothing, ""
	if r.success() {
		if ids = readCAList(r.body); len(ids) > 0 {
			m = meansDone
		} else {
			problem = "the answer lists no CA"
		}
	}
	if _, err := c.verdict(OpProbe, r, m, problem); err != nil {
		return nil, err
	}
	return ids, nil
}

// readCAList returns the ids of a CAListResponse, nil where the body is none.
func readCAList(body []byte) []string {
	var wire struct {
		Type   string `json:"type"`
		CAList []struct {
			ID text `json:"id"`
		} `json:"caList"`
	}
	if parseObject(body, &wire) != nil || wire.Type != "" && wire.Type != "CAListResponse" {
		return nil
	}
	var ids []string
	for _, ca := range wire.CAList {
		if ca.ID == "" {
			return nil // a list that is not understood as a whole refuses nobody
		}
		ids = append(ids, string(ca.ID))
	}
	return ids
}
