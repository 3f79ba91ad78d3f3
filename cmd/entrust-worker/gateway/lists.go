package gateway

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

func casCommand(t *terminal.Terminal, loader *config.Loader) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cas",
		Short: "List the CAs that requests may name",
		Example: `  entrust-worker gateway cas
  entrust-worker gateway cas --json | jq -r .id`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return read(cmd, loader, func(ctx context.Context, c *gateway.Client) error {
				all, err := c.CAs(ctx)
				if err != nil {
					return err
				}
				l := t.List(asJSON, "CA", "NAME", "PROPERTIES")
				for _, ca := range all {
					if err := l.Add(caView{ca.ID, ca.Name, ca.Properties}, ca.ID, ca.Name, pairs(ca.Properties)); err != nil {
						return err
					}
				}
				return l.End()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

type caView struct {
	ID         string            `json:"id"`
	Name       string            `json:"name,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

func pairs(m map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+"="+m[key])
	}
	return strings.Join(all, " ")
}

func profilesCommand(t *terminal.Terminal, loader *config.Loader) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "profiles [PROFILE...]",
		Short: "List the enrollment profiles of the CA, and what each requires",
		Example: `  entrust-worker gateway profiles
  entrust-worker gateway profiles tls-server --gateway-ca-id ca-2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return read(cmd, loader, func(ctx context.Context, c *gateway.Client) error {
				all, err := profiles(ctx, c, args)
				if err != nil {
					return err
				}
				l := t.List(asJSON, "PROFILE", "NAME", "PROPERTIES", "ALTERNATIVE NAMES", "SUBJECT VARIABLES")
				l.None = "the CA has no profiles"
				for _, p := range all {
					v := profileView{p.ID, p.Name, p.Properties, p.Protocols, views(p.RequestedProperties), views(p.SubjectAltNames), views(p.SubjectVariables)}
					if err := l.Add(v, p.ID, p.Name, needs(p.RequestedProperties), needs(p.SubjectAltNames), needs(p.SubjectVariables)); err != nil {
						return err
					}
				}
				return l.End()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// profiles are those of the ids, all where there are none.
func profiles(ctx context.Context, c *gateway.Client, ids []string) ([]gateway.Profile, error) {
	if len(ids) == 0 {
		return c.Profiles(ctx, "")
	}
	all := make([]gateway.Profile, len(ids))
	for i, id := range ids {
		var err error
		if all[i], err = c.Profile(ctx, "", id); err != nil {
			return nil, err
		}
	}
	return all, nil
}

type profileView struct {
	ID         string            `json:"id"`
	Name       string            `json:"name,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
	Protocols  []string          `json:"protocols,omitempty"`
	Requested  []requirementView `json:"requested_properties,omitempty"`
	AltNames   []requirementView `json:"subject_alt_names,omitempty"`
	Variables  []requirementView `json:"subject_variables,omitempty"`
}

type requirementView struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required"`
}

func views(all []gateway.Requirement) []requirementView {
	var out []requirementView
	for _, r := range all {
		out = append(out, requirementView(r))
	}
	return out
}

// needs lists requirements; one that may be left out stands in brackets.
func needs(all []gateway.Requirement) string {
	var names []string
	for _, r := range all {
		if !r.Required {
			r.Name = "[" + r.Name + "]"
		}
		names = append(names, r.Name)
	}
	return strings.Join(names, " ")
}
