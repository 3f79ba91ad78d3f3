package gateway

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

func chainCommand(t *terminal.Terminal, loader *config.Loader) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "chain",
		Short: "Print the certificate of the CA and those above it, as PEM",
		Example: `  entrust-worker gateway chain > chain.pem
  entrust-worker gateway chain --gateway-ca-id ca-2`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return read(cmd, loader, func(ctx context.Context, c *gateway.Client) error {
				ca, err := c.CA(ctx, "")
				if err != nil {
					return err
				}
				if ca.Warning != "" {
					t.Notef("%s", ca.Warning)
				}
				for _, der := range append([][]byte{ca.Certificate}, ca.Chain...) {
					cert, err := x509.ParseCertificate(der)
					if err != nil {
						return fmt.Errorf("reading a certificate of CA %s: %w", ca.ID, err)
					}
					if asJSON {
						err = terminal.PrintJSON(t.Out, viewOf(gateway.Certificate{Certificate: cert}))
					} else {
						_, err = fmt.Fprintf(t.Out, "# %s\n%s", terminal.Plain(cert.Subject.String()), armour(cert))
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

func certificateCommand(t *terminal.Terminal, loader *config.Loader) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "certificate SERIAL",
		Short:   "Show a certificate, and whether it is revoked",
		Long:    `Show a certificate, and whether it is revoked. SERIAL is hexadecimal as other tools print it: upper or lower case, with 0x or colons.`,
		Example: `  entrust-worker gateway certificate 1234abcd`,
		Args:    usage.AtLeastOne("SERIAL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return read(cmd, loader, func(ctx context.Context, c *gateway.Client) error {
				for _, text := range args {
					serial, err := (&entrustbus.Revoke{Serial: text}).SerialNumber()
					if err != nil {
						return usage.Wrap(err)
					}
					cert, err := c.Certificate(ctx, "", serial)
					switch {
					case gateway.NotKnown(err):
						return fmt.Errorf("the CA has no certificate %x", serial)
					case err != nil:
						return err
					case asJSON:
						err = terminal.PrintJSON(t.Out, viewOf(cert))
					default:
						err = printCertificate(t, cert)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

type certificateView struct {
	Serial    string    `json:"serial"`
	Decimal   string    `json:"serial_decimal"`
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Status    string    `json:"status,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Comment   string    `json:"comment,omitempty"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	PEM       string    `json:"certificate_pem"`
}

func viewOf(c gateway.Certificate) certificateView {
	return certificateView{
		Serial: fmt.Sprintf("%x", c.SerialNumber), Decimal: c.SerialNumber.String(), Subject: c.Subject.String(), Issuer: c.Issuer.String(),
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), Status: c.Status, Reason: c.Reason, Comment: c.Comment,
		RevokedAt: c.RevokedAt.UTC(), PEM: string(armour(c.Certificate)),
	}
}

func printCertificate(t *terminal.Terminal, c gateway.Certificate) error {
	v := viewOf(c)
	revoked := ""
	if !v.RevokedAt.IsZero() {
		revoked = v.RevokedAt.Format(time.RFC3339)
	}
	err := terminal.PrintFields(t.Out, []terminal.Field{
		{"serial", v.Serial}, {"decimal", v.Decimal}, {"subject", v.Subject}, {"issuer", v.Issuer},
		{"valid from", v.NotBefore.Format(time.RFC3339)}, {"valid until", v.NotAfter.Format(time.RFC3339)},
		{"status", v.Status}, {"reason", v.Reason}, {"comment", v.Comment}, {"revoked", revoked},
	})
	if err == nil {
		t.Printf("%s", v.PEM)
	}
	return err
}

func armour(cert *x509.Certificate) []byte {
	var b bytes.Buffer
	// Writing to a bytes.Buffer does not fail.
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	return b.Bytes()
}
