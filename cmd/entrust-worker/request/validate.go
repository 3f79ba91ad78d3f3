package request

import (
	"cmp"
	"context"
	"errors"
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

func validateCommand(t *terminal.Terminal, loader *config.Loader, dial connect.Dialer) *cobra.Command {
	v := validation{terminal: t}
	cmd := &cobra.Command{
		Use:   "validate FILE|GLOB|-...",
		Short: "Check requests as a worker and its policy would, without sending them",
		Long: `Check requests as a worker and its policy would, without sending them. A FILE is a request as producers publish it, in
JSON or MessagePack, several requests in JSON one after the other, or certificate requests. The verb reads each like a
worker, with the limits of this configuration. It prints what breaks the contract, with field and fix, and the warnings.

With --producer it checks the policy too: the file of --policy-file or of the configuration, otherwise the policy of a
worker, over NATS. With a policy file it does not ask NATS. Only a worker knows the owners of certificates and the
blocked keys.

The exit code is 1 if a request is invalid or refused.`,
		Example: `  entrust-worker request validate web.json
  entrust-worker request validate --producer shop --policy-file policy.yaml 'requests/*.json'
  entrust-worker request validate --producer shop --json web.csr`,
		Args: usage.AtLeastOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if v.producer != "" && !entrustbus.ValidToken(v.producer) {
				return usage.Errorf("--producer must be 1 to 64 letters, digits, _ and -, is %q", v.producer)
			}
			if err := usage.NoneEmpty(cmd.Flags(), "producer", "kind"); err != nil {
				return err
			}
			if v.kind != "" && !entrustbus.Kind(v.kind).ForProducers() {
				return usage.Errorf("--kind must be issue, revoke, track or cancel, is %q", v.kind)
			}
			var err error
			if v.settings, err = loader.Load(cmd.Flags()); err != nil {
				return err
			}
			if v.settings.Policy.File != "" && v.producer != "" {
				if v.policy, err = policyfile.Read(v.settings.Policy.File, v.settings.Streams.OrdersMaxAge); err != nil {
					return usage.Wrap(err)
				}
			}
			documents, err := readDocuments(args, t.In)
			if err != nil {
				return err
			}
			if v.producer == "" || v.policy != nil {
				return v.run(cmd.Context(), documents)
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				v.bus = bus
				return v.run(ctx, documents)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&v.producer, "producer", "", "`name` of the producer that would send them; without it the verb does not check the policy")
	flags.StringVar(&v.kind, "kind", "", "kind of requests that do not name it: `issue`, revoke, track or cancel; default issue")
	flags.BoolVar(&v.json, "json", false, "print one JSON object per line")
	usage.Complete(cmd, "kind", "issue", "revoke", "track", "cancel")
	return cmd
}

// validation is one run of the verb.
type validation struct {
	terminal       *terminal.Terminal
	producer, kind string
	json           bool

	settings *config.Settings
	policy   *policy.Policy // nil: a worker is asked over bus, or none where bus is nil too
	bus      *connect.Bus
}

// verdict is what is said of one request.
type verdict struct {
	Source   string          `json:"source"`
	Valid    bool            `json:"valid"`
	Kind     entrustbus.Kind `json:"kind"`
	ID       string          `json:"id,omitempty"`
	Error    *problem        `json:"error,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
	Policy   *decision       `json:"policy,omitempty"`
}

// problem is what breaks the contract.
type problem struct {
	Field   string `json:"field,omitempty"`
	Problem string `json:"problem"`
	Fix     string `json:"fix,omitempty"`
}

// decision is what the policy says.
type decision struct {
	Policy   string `json:"policy,omitempty"` // its name; "" for a worker without one
	Allowed  bool   `json:"allowed"`
	Message  string `json:"message,omitempty"`
	Validity int64  `json:"validity_seconds,omitempty"` // what it cuts the validity to
	Sign     bool   `json:"signature_required,omitempty"`
}

// mostBytes is the size of a message that nats-server takes unless it is configured.
const mostBytes = 1 << 20

// run says of each document what is wrong with it.
func (v *validation) run(ctx context.Context, documents []document) error {
	wrong := false
	for _, d := range documents {
		r, err := v.one(ctx, d)
		if err != nil {
			return err
		}
		wrong = wrong || !r.Valid || r.Policy != nil && !r.Policy.Allowed
		if v.json {
			err = terminal.PrintJSON(v.terminal.Out, r)
		} else {
			v.print(r)
		}
		if err != nil {
			return err
		}
	}
	if wrong {
		return usage.Code(usage.Failed)
	}
	return nil
}

func (v *validation) one(ctx context.Context, d document) (*verdict, error) {
	kind := entrustbus.Kind(cmp.Or(v.kind, string(d.kind), string(entrustbus.KindIssue)))
	subjects := v.settings.Layout().Subjects()
	limits := order.Limits{MaxWait: v.settings.Poll.MaxWaitLimit, Size: mostBytes, Verifiable: v.settings.Gateway.UnverifiedKeys == config.UnverifiedRefuse}
	if v.bus != nil {
		limits.Size = v.bus.MaxPayload()
	}
	q := order.Read(subjects, &order.Message{Subject: subjects.Request(cmp.Or(v.producer, "producer"), kind), Body: d.body}, limits)
	r := &verdict{Source: d.source, Valid: q.Problem == nil, Kind: kind, ID: q.Key.ID}
	if q.Problem != nil {
		r.Error = &problem{Problem: q.Problem.Error()}
		if f, ok := errors.AsType[*entrustbus.FieldError](q.Problem); ok {
			r.Error = &problem{f.Field, f.Problem, f.Fix}
		}
	}
	if q.Body != nil {
		r.Warnings = q.Body.Warnings()
	}
	if !r.Valid {
		return r, nil // no rule is asked about it
	}
	var err error
	switch {
	case v.policy != nil:
		r.Policy = v.judge(&q)
	case v.bus != nil:
		r.Policy, err = v.ask(ctx, q.Body)
	}
	return r, err
}

// judge asks the policy file.
func (v *validation) judge(q *order.Request) *decision {
	ca, profile := q.CA()
	says, _ := v.policy.Explain(policy.Request{
		Producer: v.producer, Body: q.Body, CA: cmp.Or(ca, v.settings.Gateway.CAID), Profile: cmp.Or(profile, v.settings.Gateway.ProfileID),
		Message: policy.Message{Unsigned: true}, // a file has no headers
	})
	d := &decision{
		Policy: policyfile.Name(v.policy), Allowed: says.Denial == nil, Sign: v.policy.MustSign(v.producer), Validity: int64(says.Validity / time.Second),
	}
	if says.Denial != nil {
		d.Message = says.Denial.Error()
	}
	return d
}

// ask has a worker ask its policy.
func (v *validation) ask(ctx context.Context, body entrustbus.Request) (*decision, error) {
	client, err := entrustbus.New(v.bus.Conn, entrustbus.ClientConfig{Producer: v.producer, Subjects: v.bus.Subjects, JetStream: v.bus.JS})
	if err != nil {
		return nil, err
	}
	ctx, cancel := v.bus.Step(ctx)
	defer cancel()
	says, err := client.Policy(ctx, body)
	if err != nil {
		return nil, usage.WithHint(err, "start a worker, or name a policy file with --policy-file")
	}
	return &decision{says.Policy, says.Allowed, says.Message, says.ValiditySeconds, says.MustSign}, nil
}

// print says it to people.
func (v *validation) print(r *verdict) {
	t := v.terminal
	word := "valid"
	switch {
	case !r.Valid:
		word = "invalid"
	case r.Policy != nil && !r.Policy.Allowed:
		word = "refused by the policy"
	}
	t.Printf("%s: %s\n", terminal.Plain(r.Source), word)
	line := func(what, text string) {
		if text != "" {
			t.Printf("  %s: %s\n", what, terminal.Plain(text))
		}
	}
	if e := r.Error; e != nil {
		line(cmp.Or(e.Field, "request"), e.Problem)
		line("fix", e.Fix)
	}
	for _, w := range r.Warnings {
		line("warning", w)
	}
	d := r.Policy
	if d == nil {
		return
	}
	says := "allows it"
	switch {
	case !d.Allowed:
		says = d.Message
	case d.Policy == "":
		says = "the worker has no policy"
	case d.Validity > 0:
		says = "cuts the validity to " + (time.Duration(d.Validity) * time.Second).String()
	}
	line("policy", says)
	if d.Sign {
		line("policy", "the producer must sign it")
	}
}
