package gateway

import (
	"context"
	"encoding/json"
	"errors"
)

// ListedCA is a certificate authority in the gateway's list.
type ListedCA struct {
	ID, Name string
	// Properties are the gateway's, by name. connector-name, for example, names the product
	// behind the gateway.
	Properties map[string]string
}

// CAs returns the CAs that the gateway lists for this client. The list is never empty. The
// error is an *Error. A gateway of the certctl dialect, or a proxy that answers in its
// place, may have no list; that is an error too.
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

// readCAList returns the CAs of a CAListResponse; nil if the body is not one.
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
			return nil // callers refuse CAs by this list, so a list that is partly unread must not be used
		}
		all = append(all, ca)
	}
	return all
}
