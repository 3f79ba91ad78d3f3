// Package renew is the verb that reports which certificates expire, and writes the requests
// that renew them.
package renew

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/renewal"
)

// renew is one run of the verb.
type renew struct {
	terminal *terminal.Terminal
	within   usage.Span
	producer string
	format   terminal.Format
	csrs     []string
	folder   string
	ndjson   bool

	// ca and profile are the workers' own: a request need not name them, and a policy may forbid it.
	ca, profile string
}

// Command is the verb.
func Command(t *terminal.Terminal, loader *config.Loader, dial connect.Dialer) *cobra.Command {
	r := renew{terminal: t, within: usage.Span(30 * 24 * time.Hour)}
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "Report which certificates expire, and write requests that renew them",
		Long: `Report which certificates expire, the earliest first. The verb reads the results, and the bucket ENTRUST_CERTS, which
workers with a policy write and which keeps certificates until they expire. It leaves out certificates that were
revoked or renewed. Renewed means that the producer has a later certificate for the same names, or for the same key
where the names are not known. The verb does not know of revocations whose results NATS no longer keeps.

--requests and --ndjson write the issue requests that renew them, for the producer to send. Each needs a certificate
request. NATS keeps none of an issued certificate, so --csr must name them. A certificate request matches a certificate
by the same names, or else by the same key. A request names a CA or a profile only where this configuration has
another. The verb makes no keys and sends nothing. The exit code is 1 if a certificate request is missing.`,
		Example: `  entrust-worker renew --within 30d
  entrust-worker renew --producer shop --format csv
  entrust-worker renew --producer shop --csr 'csrs/*.csr' --requests renewals`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(cmd); err != nil {
				return err
			}
			s, err := loader.Load(cmd.Flags())
			if err != nil {
				return err
			}
			r.ca, r.profile = s.Gateway.CAID, s.Gateway.ProfileID
			csrs, err := readCSRs(r.csrs, t.In)
			if err != nil {
				return err
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				found, err := renewal.Expiring(ctx, bus.JS, bus.Layout, r.producer, t.Now(), time.Duration(r.within))
				if err != nil {
					return err
				}
				return r.report(found, csrs)
			})
		},
	}
	flags := cmd.Flags()
	flags.Var(&r.within, "within", "certificates that end within this time, such as 30d")
	flags.StringVar(&r.producer, "producer", "", "only certificates of this `producer`")
	r.format.Add(cmd)
	flags.StringArrayVar(&r.csrs, "csr", nil, "`file` or glob with certificate requests for the renewals; may be repeated")
	flags.StringVar(&r.folder, "requests", "", "write a request for each into this `folder`, in a subfolder of its producer")
	flags.BoolVar(&r.ndjson, "ndjson", false, "print the requests instead of the report, one JSON object per line; needs --producer")
	return cmd
}

func (r *renew) check(cmd *cobra.Command) error {
	if err := usage.NoneEmpty(cmd.Flags(), "within", "producer", "requests", "csr"); err != nil {
		return err
	}
	switch {
	case r.producer != "" && !entrustbus.ValidToken(r.producer):
		return usage.Errorf("--producer must be 1 to 64 letters, digits, _ and -, is %q", r.producer)
	case r.ndjson && (r.folder != "" || usage.AnyChanged(cmd.Flags(), "format", "json", "wide")):
		return usage.Errorf("--ndjson excludes --requests, --format, --json and --wide")
	case r.ndjson && r.producer == "":
		return usage.WithHint(usage.Errorf("--ndjson needs --producer"), "each producer has its own subject; --requests writes a folder for each producer")
	case (r.ndjson || r.folder != "") != (len(r.csrs) > 0):
		return usage.WithHint(usage.Errorf("--csr needs --requests or --ndjson, and each of them needs --csr"), "NATS keeps no certificate request of an issued certificate")
	}
	return r.format.Check()
}

// expiring is what is printed of one certificate.
type expiring struct {
	renewal.Certificate
	// Request is the id of the request that renews it, File where it was written.
	Request string `json:"request,omitempty"`
	File    string `json:"file,omitempty"`
	Note    string `json:"note,omitempty"`
}

// report prints the certificates, and writes their requests.
func (r *renew) report(found []renewal.Certificate, csrs []renewal.CSR) error {
	out := r.terminal.Layout(r.format, columns()...)
	out.None = fmt.Sprintf("no certificate ends within %s", terminal.Span(time.Duration(r.within)))
	missing, now := 0, r.terminal.Now()
	for _, c := range found {
		row := expiring{Certificate: c}
		if c.NoResult {
			row.Note = "from ENTRUST_CERTS only"
		}
		if len(r.csrs) > 0 {
			ok, err := r.request(&row, csrs)
			if err != nil {
				return err
			}
			if !ok {
				missing++
			}
		}
		if r.ndjson {
			continue
		}
		if err := out.Add(row, out.When(c.NotAfter, now), c.Producer, c.Order, strings.Join(c.Names, " "), c.CAID, c.ProfileID, c.Serial,
			cmp.Or(row.File, row.Request), row.Note); err != nil {
			return err
		}
	}
	if !r.ndjson {
		if err := out.End(); err != nil {
			return err
		}
	}
	if missing > 0 {
		r.terminal.Notef("%d of %d certificates have no certificate request with the same names or the same key", missing, len(found))
		return usage.Code(usage.Failed)
	}
	return nil
}

// columns are those of the report.
func columns() []terminal.Column {
	return []terminal.Column{
		{Name: "NOT AFTER"}, {Name: "PRODUCER"}, {Name: "ORDER"}, {Name: "NAMES", Rank: 1}, {Name: "CA", Rank: 6}, {Name: "PROFILE", Rank: 5},
		{Name: "SERIAL", Rank: 4}, {Name: "REQUEST", Rank: 2}, {Name: "NOTE", Rank: 3},
	}
}

// request writes the request that renews a certificate. It returns false where none fits.
func (r *renew) request(row *expiring, csrs []renewal.CSR) (bool, error) {
	issue := row.Certificate.Request(csrs)
	if issue == nil {
		row.Note = strings.TrimPrefix(row.Note+"; no certificate request", "; ")
		if r.ndjson {
			r.terminal.Notef("warning: order %s.%s: no certificate request matches; its certificate ends on %s", row.Producer, row.Order, row.NotAfter.Format(time.DateOnly))
		}
		return false, nil
	}
	if issue.CAID == r.ca {
		issue.CAID = ""
	}
	if issue.ProfileID == r.profile {
		issue.ProfileID = ""
	}
	var err error
	row.Request = issue.ID
	row.File, err = r.write(row.Producer, issue)
	return true, err
}
