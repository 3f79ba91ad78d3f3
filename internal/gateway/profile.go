package gateway

import (
	"context"
	"encoding/json"
	"errors"
)

// Profile is the gateway's description of an enrollment profile.
type Profile struct {
	ID, Name   string
	Properties map[string]string
	Protocols  []string
	// RequestedProperties, SubjectAltNames and SubjectVariables are the values that an
	// enrollment must or may give.
	RequestedProperties, SubjectAltNames, SubjectVariables []Requirement
}

// Requirement is one value that a profile takes from an enrollment.
type Requirement struct {
	// Name is the property, the type of subject alternative name, or the variable.
	Name, Description string
	// Required: the gateway refuses an enrollment without it.
	Required bool
}

// Profiles returns the enrollment profiles of a CA. An empty caID names the configured CA.
// The list may be empty. The error is ErrNotDescribed or an *Error.
func (c *Client) Profiles(ctx context.Context, caID string) ([]Profile, error) {
	var all []Profile
	err := c.askCA(ctx, caID, func(body []byte) error {
		var wire struct {
			Type     string            `json:"type"`
			Profiles []json.RawMessage `json:"profiles"`
		}
		if err := parseObject(body, &wire); err != nil {
			return err
		}
		if wire.Profiles == nil && wire.Type != "ProfilesResponse" {
			return errors.New("the answer holds no profiles")
		}
		for _, raw := range wire.Profiles {
			p, err := readProfile(raw)
			if err != nil {
				return err
			}
			all = append(all, p)
		}
		return nil
	}, "profiles")
	return all, err
}

// Profile returns one enrollment profile of a CA. An empty caID or profileID names the
// configured one. The error is ErrNotDescribed or an *Error.
func (c *Client) Profile(ctx context.Context, caID, profileID string) (Profile, error) {
	if profileID == "" {
		profileID = c.cfg.ProfileID
	}
	if profileID == "" {
		return Profile{}, invalid(OpProbe, "profile_id", "must not be empty, and none is configured")
	}
	var p Profile
	err := c.askCA(ctx, caID, func(body []byte) (err error) {
		m, _ := readMembers(body)
		p, err = readProfile(m.get("profile"))
		return err
	}, "profiles", profileID)
	return p, err
}

// Missing returns the name of the first required property that is not in given, or is an empty
// text or list there; "" if none is missing.
func (p Profile) Missing(given map[string]any) string {
	for _, r := range p.RequestedProperties {
		if !r.Required {
			continue
		}
		switch v := given[r.Name].(type) {
		case nil:
			return r.Name
		case string:
			if v == "" {
				return r.Name
			}
		case []any:
			if len(v) == 0 {
				return r.Name
			}
		}
	}
	return ""
}

func readProfile(raw json.RawMessage) (Profile, error) {
	m, _ := readMembers(raw)
	p := Profile{
		ID: m.text("id"), Name: m.text("name"), Properties: m.texts("properties"),
		RequestedProperties: readRequirements(m.get("requestedProperties")),
		SubjectAltNames:     readRequirements(m.get("subjectAltNameRequirements")),
		SubjectVariables:    readRequirements(m.get("subjectVariableRequirements")),
	}
	if p.ID == "" {
		return Profile{}, errors.New("the answer holds no profile with an id")
	}
	// Protocols of another type are ignored.
	_ = json.Unmarshal(m.get("protocols"), &p.Protocols)
	return p, nil
}

// readRequirements reads a list of requirements. It leaves out what it cannot read: the gateway
// enforces its requirements anyway.
func readRequirements(raw json.RawMessage) []Requirement {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var all []Requirement
	for _, item := range list {
		m, _ := readMembers(item)
		r := Requirement{Name: m.text("name"), Description: m.text("description")}
		if r.Name == "" {
			r.Name = m.text("type") // of a subject alternative name
		}
		_ = json.Unmarshal(m.get("required"), &r.Required)
		if r.Name != "" {
			all = append(all, r)
		}
	}
	return all
}
