// Package audit is the verbs about the audit trail: what was decided, for whom, by which
// rule.
package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/audit"
)

// Command is the group of verbs.
func Command(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Verify and read the audit trail",
		Long: `Verify and read the audit trail. It has one record for each decision with an effect outside the worker, and one hash
chain for each start of a worker. The verbs only read: the NATS user of a monitor may run them.`,
		Args: cobra.ArbitraryArgs,
		RunE: usage.NeedsVerb,
	}
	cmd.AddCommand(verifyCommand(t, dial), tailCommand(t, dial), grepCommand(t, dial))
	return cmd
}

// open looks at the stream of the trail.
func open(ctx context.Context, bus *connect.Bus) (*jetstream.StreamInfo, error) {
	step, cancel := bus.Step(ctx)
	defer cancel()
	st, err := bus.JS.Stream(step, bus.Layout.Audit)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, usage.WithHint(fmt.Errorf("reading the audit trail: stream %s is missing", bus.Layout.Audit), "a worker with policy.file, or audit.enabled on, writes it; entrust-worker provision --audit-enabled on creates the stream")
	}
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", bus.Layout.Audit, err)
	}
	return st.CachedInfo(), nil
}

// row is a record as the verbs print it.
type row struct {
	Sequence uint64    `json:"sequence"`
	Stored   time.Time `json:"stored"`
	*audit.Record
}

// listing prints records.
type listing struct {
	*terminal.Listing
	t *terminal.Terminal
}

func list(t *terminal.Terminal, asJSON bool) listing {
	return listing{t.List(asJSON, "SEQ", "TIME", "DECISION", "ORDER", "KIND", "SERIAL", "WHO", "WHY"), t}
}

func (l listing) add(m audit.Message, r *audit.Record) error {
	return l.Add(row{m.Sequence, m.Stored, r},
		fmt.Sprint(m.Sequence), l.Date(r.Time), decision(r), order(r), r.Kind, r.Serial, who(r), why(r))
}

func decision(r *audit.Record) string {
	switch {
	case r.Head != nil:
		return "head of the " + r.Head.Of
	case r.Count > 0:
		return fmt.Sprintf("%s, %d more", r.Decision, r.Count)
	case r.How != "":
		return r.Decision + ", " + r.How
	}
	return r.Decision
}

func order(r *audit.Record) string {
	switch {
	case r.Order == "":
		return r.Producer
	case r.Generation > 0:
		return fmt.Sprintf("%s.%s, generation %d", r.Producer, r.Order, r.Generation)
	}
	return r.Producer + "." + r.Order
}

// who names who asked: the operator, or the key of the producer.
func who(r *audit.Record) string {
	switch {
	case r.Operator != "":
		return "operator " + r.Operator
	case r.KeyID != "":
		return "key " + r.KeyID
	case r.Order == "" && r.Producer == "":
		return "worker " + r.Chain
	}
	return ""
}

func why(r *audit.Record) string {
	var parts []string
	for _, s := range []string{r.Rule, r.Reason} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	switch {
	case r.Was != "":
		parts = append(parts, r.Was+" -> "+r.Is)
	case r.Is != "":
		parts = append(parts, r.Is)
	}
	return strings.Join(parts, "; ")
}
