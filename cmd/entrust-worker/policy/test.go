package policy

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
)

func testCommand(t *terminal.Terminal, loader *config.Loader, dial connect.Dialer) *cobra.Command {
	var producer, kind, ca, profile, owner string
	var asJSON, overBus bool
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Say whether the policy allows a request, and which rule decides",
		Long: `Say whether the policy allows a request, and which rule decides. FILE is a certificate request, or a request as
producers publish it: JSON or MessagePack; - is standard input. Exit code 0 if the policy allows it, 1 if it refuses.

The policy is that of the configured file. The verb does not ask NATS: --owner names the producer to which the
certificate of a revocation was issued, and no key counts as blocked. The answer also says whether the producer must
sign the request. With --ask a worker answers over NATS: it uses its own policy, and the owners and keys that it knows.`,
		Example: `  entrust-worker policy test --producer shop web.csr
  entrust-worker policy test --producer shop --kind revoke revoke.json
  entrust-worker policy test --producer shop --ask web.csr`,
		Args: usage.AtLeastOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usage.Errorf("test takes one FILE, got %d", len(args))
			case !entrustbus.ValidToken(producer):
				return usage.WithHint(usage.Errorf("--producer is missing, or not the name of a producer"), "%s --help", cmd.CommandPath())
			case overBus && ca+profile+owner != "":
				return usage.Errorf("--ask excludes --ca, --profile and --owner: the worker knows them")
			}
			if overBus {
				body, err := readRequest(args[0], entrustbus.Kind(kind), t.In)
				if err != nil {
					return err
				}
				return ask(cmd, t, dial, producer, asJSON, body)
			}
			s, p, err := read(cmd, loader)
			if err != nil {
				return err
			}
			body, err := readRequest(args[0], entrustbus.Kind(kind), t.In)
			if err != nil {
				return err
			}
			namedCA, namedProfile := (&order.Request{Body: body}).CA()
			verdict, findings := p.Explain(policy.Request{
				Producer: producer, Body: body,
				CA: cmp.Or(namedCA, ca, s.Gateway.CAID), Profile: cmp.Or(namedProfile, profile, s.Gateway.ProfileID), Owner: owner,
				Message: policy.Message{Unsigned: true}, // a file has no headers
			})
			if err := answer(t, asJSON, p, p.MustSign(producer), verdict, findings); err != nil {
				return err
			}
			if verdict.Denial != nil {
				return usage.Code(usage.Failed)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&producer, "producer", "", "`name` of the producer that would ask; required")
	flags.StringVar(&kind, "kind", string(entrustbus.KindIssue), "`kind` of what a request file asks for: issue, revoke, track or cancel")
	flags.StringVar(&ca, "ca", "", "`id` of the worker's certificate authority; default the configured one")
	flags.StringVar(&profile, "profile", "", "`id` of the worker's profile; default the configured one")
	flags.StringVar(&owner, "owner", "", "`name` of the producer to which the certificate of a revocation was issued; default: unknown")
	flags.BoolVar(&overBus, "ask", false, "ask a worker over NATS")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	usage.Complete(cmd, "kind", "issue", "revoke", "track", "cancel")
	return cmd
}

// maxInput bounds what is read of a file: more than NATS carries as one message.
const maxInput = 8 << 20

// readRequest reads a certificate request as a request for its certificate, or a request.
func readRequest(path string, kind entrustbus.Kind, stdin io.Reader) (entrustbus.Request, error) {
	data, _, err := terminal.ReadInput(path, stdin, maxInput)
	if err != nil {
		return nil, err
	}
	enc := entrustbus.EncodingMsgpack
	if text := bytes.TrimPrefix(bytes.TrimSpace(data), []byte("\ufeff")); bytes.HasPrefix(text, []byte("{")) {
		enc = entrustbus.EncodingJSON
	} else if found, err := entrustbus.ReadCSRs(data); err == nil {
		if len(found) > 1 {
			return nil, fmt.Errorf("%s holds %d certificate requests; test one at a time", path, len(found))
		}
		issue := &entrustbus.Issue{ID: "test", CSRDER: found[0]}
		return issue, explain(path, issue.Validate())
	}
	body, err := entrustbus.DecodeRequest(kind, enc, data)
	return body, explain(path, err)
}

func explain(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("testing %s: it is not a valid request, so no rule applies: %w", path, err)
}

// finding is what one rule says, as programs read it.
type finding struct {
	Rule    string `json:"rule"`
	Answer  string `json:"answer"`
	Value   string `json:"value,omitempty"`
	Where   string `json:"where,omitempty"`
	Decides bool   `json:"decides,omitempty"`
}

// answer prints what every rule says, and the verdict: below the table for people, which a
// reader of the last line finds.
func answer(t *terminal.Terminal, asJSON bool, p *policy.Policy, sign bool, v policy.Verdict, findings []policy.Finding) error {
	var all []finding
	for _, f := range findings {
		said := "allows"
		if !f.Allowed {
			said = "refuses"
		}
		decides := v.Denial != nil && !f.Allowed && f.Denial == *v.Denial
		all = append(all, finding{f.Rule, said, f.Value, f.Where, decides})
	}
	verdict := "allowed"
	if v.Denial != nil {
		verdict = "refused: " + v.Denial.Error()
	} else if v.Validity > 0 {
		verdict = cutTo(int64(v.Validity / time.Second))
	}
	if sign && v.Denial == nil {
		verdict += ", if the producer signs it"
	}
	if asJSON {
		return terminal.PrintIndented(t.Out, struct {
			Allowed  bool      `json:"allowed"`
			Verdict  string    `json:"verdict"`
			Sign     bool      `json:"signature_required,omitempty"`
			Validity int64     `json:"validity_seconds,omitempty"`
			Policy   string    `json:"policy"`
			Findings []finding `json:"findings"`
		}{v.Denial == nil, verdict, sign, int64(v.Validity / time.Second), policyfile.Name(p), all})
	}
	list := t.List(false, "RULE", "ANSWER", "VALUE", "WHERE")
	for _, f := range all {
		if f.Decides {
			f.Answer += " (decides)"
		}
		if err := list.Add(f, f.Rule, f.Answer, f.Value, f.Where); err != nil {
			return err
		}
	}
	if err := list.End(); err != nil {
		return err
	}
	t.Printf("%s\n", verdict)
	return nil
}
