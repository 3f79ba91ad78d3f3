package orders

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/request"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

func completeCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	e := ending{terminal: t, word: "complete", done: "completed"}
	cmd := &cobra.Command{
		Use:   "complete ORDER FILE",
		Short: "End an order with the certificate that was issued for it",
		Long: `End an order with a certificate that was issued for it and that the worker did not see; FILE has it in PEM or DER. The
order must have ended without a certificate. Its next generation gets the result issued.

The verb checks the certificate like one that the gateway sends: the key must be that of the order's certificate
request, and the names and the validity must be those that were asked for. It takes the request from the order's dead
letter. It sends nothing before the check, and the worker checks again.

Without --yes the verb says what it would do, and does nothing. The audit trail names the operator and keeps the text
of --why.`,
		Example: `  entrust-worker orders complete web.4711 web.pem
  entrust-worker orders complete web.4711 web.pem --yes --why 'sent by mail from the CA'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage.WithHint(usage.Errorf("name an ORDER and a FILE, got %d arguments", len(args)), "%s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := request.ReadCertificate(args[1], t.In)
			if err != nil {
				return err
			}
			e.plan = func(ctx context.Context, d *desk, key order.Key, rec order.Stored) (*plan, error) {
				return planComplete(ctx, d, key, rec, text, t.Now())
			}
			return e.run(cmd, dial, args[:1])
		},
	}
	e.add(cmd)
	return cmd
}

// planComplete plans the completion of an order with a certificate that fits it.
func planComplete(ctx context.Context, d *desk, key order.Key, rec order.Stored, text string, now time.Time) (*plan, error) {
	if err := endedWithout(key, rec.Record, "completed"); err != nil {
		return nil, err
	}
	body := &entrustbus.Complete{ID: nuid.Next(), Order: key.ID, CertificatePEM: text}
	if err := body.Validate(); err != nil {
		return nil, err
	}
	cert, err := body.Certificate()
	if err != nil {
		return nil, err
	}
	original, err := consumer.Original(ctx, d.letters, d.Subjects, key, rec.Record)
	if errors.Is(err, consumer.ErrNoOriginal) {
		return nil, usage.WithHint(fmt.Errorf("checking the certificate for order %s: %w", key, err),
			"entrust-worker request track waits for an order by its tracking id")
	}
	if err != nil {
		return nil, err
	}
	checked, err := consumer.CheckCertificate(original, cert, now)
	if err != nil {
		return nil, fmt.Errorf("the certificate does not match the request of order %s: %w", key, err)
	}
	names := strings.Join(cert.DNSNames, " ")
	if names == "" {
		names = cert.Subject.CommonName
	}
	note := fmt.Sprintf("certificate %s for %s, valid until %s", checked.Serial, names, checked.NotAfter.UTC().Format(time.DateOnly))
	if track, ok := original.Body.(*entrustbus.Track); ok && track.CSRPEM == "" && len(track.CSRDER) == 0 {
		note += "; the order has no certificate request: neither key nor names were checked"
	}
	return &plan{
		request: body, answers: key, generation: rec.Generation + 1, note: note,
		did: func(r *entrustbus.Result) bool {
			return r.Outcome == entrustbus.OutcomeIssued && r.Serial == checked.Serial
		},
	}, nil
}

// endedWithout returns why an order cannot be completed or resolved, nil where it can: it
// ended without a certificate.
func endedWithout(key order.Key, rec order.Record, done string) error {
	if rec.Kind != entrustbus.KindIssue && rec.Kind != entrustbus.KindTrack {
		return fmt.Errorf("order %s is a %s request, which cannot be %s", key, rec.Kind, done)
	}
	switch _, refusal := order.ReplayOf(rec); refusal {
	case "":
		return nil
	case order.RefusedIssued:
		return fmt.Errorf("order %s has its certificate, %s", key, rec.Serial)
	}
	return usage.WithHint(fmt.Errorf("order %s is %s, and goes on", key, rec.Phase), "entrust-worker orders cancel %s --yes ends it", key)
}
