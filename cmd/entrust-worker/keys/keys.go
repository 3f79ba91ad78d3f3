// Package keys is the verbs for keys that no certificate is asked for again: block, unblock
// and ls.
package keys

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/keys"
)

// Command is the group of verbs.
func Command(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Block public keys, unblock them, and list those that are blocked",
		Long: `Block public keys, unblock them, and list those that are blocked. A worker with a policy file refuses certificate
requests with a blocked key. It also blocks the key of a certificate that is revoked for keyCompromise.

A key is named by its hash: the SHA-256 of its SubjectPublicKeyInfo, as
openssl pkey -pubin -in key.pub -outform DER | sha256sum prints it.`,
		Args: cobra.ArbitraryArgs,
		RunE: usage.NeedsVerb,
	}
	cmd.AddCommand(blockCommand(t, dial), unblockCommand(t, dial), lsCommand(t, dial))
	return cmd
}

func store(bus *connect.Bus) *keys.Store { return keys.New(bus.JS, bus.Layout.Keys) }

const maxReason = 200

func blockCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "block HASH|FILE|-...",
		Short: "Block keys: workers refuse certificate requests with them",
		Long: `Block keys: workers refuse certificate requests with them, from the next submission on. FILE is a certificate request,
a certificate, or a list of hashes, one a line; - is standard input. Orders that wait for approval go on. Certificates
that were issued stay valid: revoke them.`,
		Example: `  entrust-worker keys block --reason 'laptop stolen, ticket 4711' web.csr
  entrust-worker keys block --reason 'weak keys of 2026' hashes.txt`,
		Args: usage.AtLeastOne("HASH or FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" || len(reason) > maxReason || terminal.Plain(reason) != reason {
				return usage.WithHint(usage.Errorf("--reason must be one line of 1 to %d bytes", maxReason), "entrust-worker keys ls shows it")
			}
			hashes, err := hashesOf(args, t)
			if err != nil {
				return err
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				if err := record(ctx, t, bus, audit.DecisionBlock, hashes, reason); err != nil {
					return err
				}
				return each(ctx, t, bus, hashes, "blocked", "was blocked before", func(ctx context.Context, s *keys.Store, hash string) (bool, error) {
					return s.Add(ctx, keys.Block{Hash: hash, Reason: reason})
				})
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text` in one line that says why; required")
	return cmd
}

func unblockCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	return &cobra.Command{
		Use:   "unblock HASH|FILE|-...",
		Short: "Unblock keys: workers accept certificate requests with them again",
		Long: `Unblock keys: workers accept certificate requests with them again. FILE is as for keys block. Requests that were
refused stay refused: the producer sends them again, or entrust-worker dead replay does.`,
		Example: `  entrust-worker keys unblock web.csr`,
		Args:    usage.AtLeastOne("HASH or FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			hashes, err := hashesOf(args, t)
			if err != nil {
				return err
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				if err := record(ctx, t, bus, audit.DecisionUnblock, hashes, ""); err != nil {
					return err
				}
				return each(ctx, t, bus, hashes, "unblocked", "is not blocked", func(ctx context.Context, s *keys.Store, hash string) (bool, error) {
					return s.Remove(ctx, hash)
				})
			})
		},
	}
}

// record writes to the audit trail what an operator is about to do: nothing is done without.
func record(ctx context.Context, t *terminal.Terminal, bus *connect.Bus, decision string, hashes []string, reason string) error {
	all := make([]*audit.Record, len(hashes))
	for i, hash := range hashes {
		all[i] = &audit.Record{Decision: decision, Operator: t.Operator(), Reason: reason, Is: hash}
	}
	if err := bus.Audit(ctx, all...); err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	return nil
}

// each changes one key after the other, and says what became of it.
func each(ctx context.Context, t *terminal.Terminal, bus *connect.Bus, hashes []string, done, stood string, change func(context.Context, *keys.Store, string) (bool, error)) error {
	s := store(bus)
	for i, hash := range hashes {
		step, cancel := bus.Step(ctx)
		changed, err := change(step, s, hash)
		cancel()
		if err != nil {
			return fmt.Errorf("%w (%d of %d keys are done)", err, i, len(hashes))
		}
		what := stood
		if changed {
			what = done
		}
		t.Printf("%s %s\n", hash, what)
	}
	return nil
}

// line is what is printed of a block.
type line struct {
	Hash     string `json:"key"`
	Reason   string `json:"reason"`
	Producer string `json:"producer,omitempty"`
	Order    string `json:"order,omitempty"`
	Since    string `json:"since"`
}

func lsCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the blocked keys, oldest block first",
		Long: `List the blocked keys, oldest block first. ORDER is the revocation for keyCompromise that blocked the key. It is empty
where an operator blocked it.`,
		Example: `  entrust-worker keys ls --json`,
		Args:    usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				out := t.List(asJSON, "KEY", "SINCE", "ORDER", "REASON")
				out.None = "no key is blocked"
				now := t.Now()
				for b, err := range store(bus).All(ctx) {
					if err != nil {
						return out.Finish(err)
					}
					v := line{b.Hash, b.Reason, b.Producer, b.Order, b.Since.Format("2006-01-02T15:04:05Z")}
					order := strings.Trim(b.Producer+"."+b.Order, ".")
					if err := out.Add(v, b.Hash, out.When(b.Since, now), order, b.Reason); err != nil {
						return err
					}
				}
				return out.End()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}
