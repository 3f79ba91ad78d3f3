package gateway

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// read makes a read-only call and returns its result in one line.
func read(t *testing.T, c *Client, what, serial string) (string, error) {
	t.Helper()
	var b strings.Builder
	ctx := t.Context()
	requirements := func(p Profile) {
		var names []string
		for _, list := range [][]Requirement{p.RequestedProperties, p.SubjectAltNames, p.SubjectVariables} {
			for _, r := range list {
				if r.Required {
					names = append(names, r.Name)
				}
			}
		}
		fmt.Fprintf(&b, "%s: %s", p.ID, strings.Join(names, ", "))
	}
	switch what {
	case "cas":
		all, err := c.CAs(ctx)
		for _, ca := range all {
			fmt.Fprintf(&b, "%s %s", ca.ID, ca.Properties["connector-name"])
		}
		return b.String(), err
	case "profiles":
		all, err := c.Profiles(ctx, "")
		for _, p := range all {
			requirements(p)
		}
		return b.String(), err
	case "profile":
		p, err := c.Profile(ctx, "", "")
		requirements(p)
		return b.String(), err
	case "certificate":
		n, ok := new(big.Int).SetString(serial, 16)
		if !ok {
			t.Fatalf("serial %q", serial)
		}
		cert, err := c.Certificate(ctx, "", n)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%x %s %s %s %s", cert.SerialNumber, cert.Status, cert.Reason, cert.Comment, cert.RevokedAt.Format(time.RFC3339)), nil
	}
	t.Fatalf("nothing is called %q", what)
	return "", nil
}
