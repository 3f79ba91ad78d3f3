package request

import (
	"strings"

	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func revokeCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var f requestFlags
	var r entrustbus.Revoke
	var cert string
	cmd := &cobra.Command{
		Use:   "revoke",
		Short: "Revoke a certificate",
		Example: `  entrust-worker request revoke --serial 5f:3a:9c --reason keyCompromise --wait
  entrust-worker request revoke --cert web.pem`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := 0
			for _, name := range []string{r.Serial, r.SerialDecimal, cert} {
				if name != "" {
					given++
				}
			}
			if given != 1 {
				return usage.WithHint(usage.Errorf("give one of --serial, --serial-decimal and --cert, got %d", given), "%s --help", cmd.CommandPath())
			}
			source := "serial " + r.Serial + r.SerialDecimal
			if cert != "" {
				var err error
				if r.CertificatePEM, err = ReadCertificate(cert, t.In); err != nil {
					return err
				}
				source = cert
			}
			return sendOne(cmd, t, dial, &f, source, "", func(id string, labels map[string]string) entrustbus.Request {
				r.ID, r.Labels = id, labels
				return &r
			})
		},
	}
	flags := cmd.Flags()
	f.add(cmd)
	flags.StringVar(&r.Serial, "serial", "", "serial `number` in hexadecimal; colons and 0x are accepted")
	flags.StringVar(&r.SerialDecimal, "serial-decimal", "", "serial `number` in decimal")
	flags.StringVar(&cert, "cert", "", "`file` with the certificate, or - for standard input")
	flags.StringVar(&r.Reason, "reason", "", "RFC 5280 `reason`, such as keyCompromise, superseded or cessationOfOperation")
	flags.StringVar(&r.Comment, "comment", "", "`text` for the CA's records")
	flags.StringVar(&r.CAID, "ca", "", "`id` of the certificate authority; default the worker's")
	return cmd
}

func trackCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var f requestFlags
	var r entrustbus.Track
	var maxWait usage.Span
	cmd := &cobra.Command{
		Use:   "track TRACKING-ID [FILE]",
		Short: "Wait for an order that was submitted before",
		Long: `Wait for an order that was submitted to the gateway before: an order that expired or was cancelled, or that another
client of the gateway submitted. With the certificate request in FILE, the worker checks the certificate against it.`,
		Example: `  entrust-worker request track --wait --out certs 7d1f2c web.csr`,
		Args:    usage.AtLeastOne("TRACKING-ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if len(args) > 2 {
				return usage.Errorf("track takes a tracking id and one file at most, got %d arguments", len(args))
			}
			file := ""
			if r.PollMaxWaitSeconds, err = seconds("max-wait", maxWait); err != nil {
				return err
			}
			if len(args) == 2 {
				csrs, err := readCSRs(args[1:], t.In)
				if err != nil {
					return err
				}
				if len(csrs) > 1 {
					return usage.Errorf("an order has one certificate request, %s holds %d", args[1], len(csrs))
				}
				r.CSRPEM, file = csrs[0].pem, fileNames(csrs)[0]
			}
			return sendOne(cmd, t, dial, &f, args[0], file, func(id string, labels map[string]string) entrustbus.Request {
				r.ID, r.TrackingID, r.Labels = id, args[0], labels
				return &r
			})
		},
	}
	flags := cmd.Flags()
	f.add(cmd)
	f.addOut(flags)
	flags.StringVar(&r.CAID, "ca", "", "`id` of the certificate authority; default the worker's")
	flags.Var(&maxWait, "max-wait", "how long to wait for approval, such as 24h; default the worker's")
	return cmd
}

func cancelCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use:     "cancel ID",
		Short:   "Stop waiting for an order of the same producer",
		Example: `  entrust-worker request cancel --producer web --wait 4711`,
		Args:    usage.AtLeastOne("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage.Errorf("cancel takes one order, got %d", len(args))
			}
			order := args[0]
			if producer, id, ok := strings.Cut(order, "."); ok {
				if cmd.Flags().Changed("producer") && producer != f.producer {
					return usage.Errorf("order %q and --producer %s disagree", terminal.Plain(order), f.producer)
				}
				f.producer, order = producer, id
			}
			return sendOne(cmd, t, dial, &f, args[0], "", func(id string, labels map[string]string) entrustbus.Request {
				return &entrustbus.Cancel{ID: id, Order: order, Labels: labels}
			})
		},
	}
	f.add(cmd)
	return cmd
}

// sendOne sends the one request that make makes. file is what its certificate is called,
// unless the request was given an id.
func sendOne(cmd *cobra.Command, t *terminal.Terminal, dial connect.Dialer, f *requestFlags, source, file string, make func(id string, labels map[string]string) entrustbus.Request) error {
	labels, err := f.check(t)
	if err != nil {
		return err
	}
	id := f.id
	if id == "" {
		id = nuid.Next()
	}
	r := make(id, labels)
	if err := r.Validate(); err != nil {
		return explainRequest(source, err)
	}
	s := newSender(t, f.sending)
	if p := s.add(f.producer, source, r); f.id == "" {
		p.file = file
	}
	return s.run(cmd, dial)
}
