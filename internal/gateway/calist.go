package gateway

import (
	"context"
	"encoding/json"
	"errors"
)

// ListedCA is a certificate authority as the gateway lists it.
type ListedCA struct {
	ID, Name string
	// Properties are the gateway's own, such as connector-name, which says what stands
	// behind the gateway.
	Properties map[string]string
}

// CAs returns the CAs that the gateway lists, for the client that asks. The list is never
// empty. The error is an *Error; a gateway of the certctl dialect, or one in front of which
// a proxy answers, may have no list, and that is an error too.
func (c *Client) CAs(ctx context.Context) ([]ListedCA, error) {
	var all []ListedCA
	err := c.ask(ctx, nil, func(body []byte) error {
		if all = readCAList(body); len(all) == 0 {
			return errors.New("the answer lists no CA")
		}
		return nil
	}, "certificate-authorities")
	return all, err
}

// readCAList returns the CAs of a CAListResponse, nil where the body is none.
func readCAList(body []byte) []ListedCA {
	var wire struct {
		Type   string            `json:"type"`
		CAList []json.RawMessage `json:"caList"`
	}
	if parseObject(body, &wire) != nil || wire.Type != "" && wire.Type != "CAListResponse" {
		return nil
	}
	var all []ListedCA
	for _, raw := range wire.CAList {
		m, _ := readMembers(raw)
		ca := ListedCA{ID: m.text("id"), Name: m.text("name"), Properties: m.texts("properties")}
		if ca.ID == "" {
			return nil // a list that is not understood as a whole refuses nobody
		}
		all = append(all, ca)
	}
	return all
}
