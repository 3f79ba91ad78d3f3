package request

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func issueCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var f requestFlags
	var template entrustbus.Issue
	var validity, maxValidity, maxWait usage.Span
	var properties []string
	cmd := &cobra.Command{
		Use:   "issue FILE|GLOB|-...",
		Short: "Ask for certificates",
		Long: `Ask for a certificate for each certificate request (PKCS#10, PEM or DER) in the files, or on standard input.
A file may hold several in PEM. Quote a glob so that the verb reads it and not the shell.

--out names a certificate after the file of its certificate request: web.csr gives web.pem and web.chain.pem. It names
the certificate by its id if --id is given, if the file holds several, or if two files have the same name.`,
		Example: `  entrust-worker request issue --wait --out certs web.csr
  entrust-worker request issue --producer web --max-wait 24h 'csr/*.csr'
  openssl req -new -key web.key -subj /CN=web.example | entrust-worker request issue --wait --json -`,
		Args: usage.AtLeastOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if template.Labels, err = f.check(t); err != nil {
				return err
			}
			if template.ValiditySeconds, err = seconds("validity", validity); err != nil {
				return err
			}
			if template.MaxValiditySeconds, err = seconds("max-validity", maxValidity); err != nil {
				return err
			}
			for _, p := range properties {
				name, value, ok := strings.Cut(p, "=")
				if !ok || name == "" {
					return usage.Errorf("--property must be name=value, is %q", p)
				}
				if template.Properties == nil {
					template.Properties = map[string]any{}
				}
				template.Properties[name] = value
			}
			if template.PollMaxWaitSeconds, err = seconds("max-wait", maxWait); err != nil {
				return err
			}
			csrs, err := readCSRs(args, t.In)
			if err != nil {
				return err
			}
			if len(csrs) > 1 && (f.id != "" || len(template.SANs) > 0) {
				return usage.Errorf("--id and --san take one certificate request, got %d", len(csrs))
			}
			names := fileNames(csrs)
			s := newSender(t, f.sending)
			for i, csr := range csrs {
				r := template
				r.ID, r.CSRPEM = f.id, csr.pem
				if r.ID == "" {
					r.ID = nuid.Next()
				}
				if err := r.Validate(); err != nil {
					return explainRequest(csr.source, err)
				}
				p := s.add(f.producer, csr.source, &r)
				if f.id == "" {
					p.file = names[i]
				}
			}
			return s.run(cmd, dial)
		},
	}
	flags := cmd.Flags()
	f.add(cmd)
	f.addOut(flags)
	flags.StringVar(&template.ProfileID, "profile", "", "enrollment `profile`; default the worker's")
	flags.StringVar(&template.CAID, "ca", "", "`id` of the certificate authority; default the worker's")
	flags.StringVar(&template.SubjectDN, "subject", "", "ask for this subject `DN` instead of the one in the certificate request")
	flags.StringArrayVar(&template.SANs, "san", nil, "`name` instead of those in the certificate request, bare or with dns:, ip:, email: or uri: in front; may be repeated")
	flags.Var(&validity, "validity", "validity to ask for, such as 90d; default the profile's")
	flags.StringVar(&template.ValidityPeriod, "validity-period", "", "validity to ask for as a `duration` or interval of ISO 8601, such as P1Y or 2026-11-01T13:00Z/P90D")
	flags.Var(&maxValidity, "max-validity", "the longest validity to accept, such as 90d")
	flags.StringArrayVar(&properties, "property", nil, "`name=value` for the gateway, such as tracking.requesterName=Ada; may be repeated")
	flags.Var(&maxWait, "max-wait", "how long the order may wait for approval, such as 24h; default the worker's")
	return cmd
}

// explainRequest says what is wrong with a request, and whose mistake it is: that of a
// file, or of the command line.
func explainRequest(source string, err error) error {
	field, ok := errors.AsType[*entrustbus.FieldError](err)
	if !ok {
		return fmt.Errorf("%s: %w", source, err)
	}
	if strings.HasPrefix(field.Field, "csr_") {
		err := fmt.Errorf("%s: the certificate request cannot be sent: %s", source, field.Problem)
		if field.Fix != "" {
			return usage.WithHint(err, "%s", field.Fix)
		}
		return usage.WithHint(err, "openssl req -noout -verify -in %s", source)
	}
	err = usage.Errorf("%s %s", field.Field, field.Problem)
	if field.Fix != "" {
		return usage.WithHint(err, "%s", field.Fix)
	}
	return err
}
