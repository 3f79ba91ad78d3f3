package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// States of a check, in the words and with the numbers of Nagios.
const (
	stateOK = iota
	stateWarning
	stateCritical
	stateUnknown // it could not be tried
)

// expiryWarning is how long before its end a client certificate is warned of.
const expiryWarning = 14 * 24 * time.Hour

// checked is what became of one check.
type checked struct {
	Name     string            `json:"name"`
	State    string            `json:"state"`
	Detail   string            `json:"detail"`
	Findings []streams.Finding `json:"findings,omitempty"`
	Seconds  float64           `json:"seconds"`

	state int
}

func checkCommand(a *app) *cobra.Command {
	var form string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Prove that NATS, the streams, the key pair and the gateway are as they must be",
		Long: `Prove that NATS, the streams, the key pair and the gateway are as they must be,
one line each. It changes nothing. Exit code 0 if all is well, 1 if not, 2 where the
configuration is wrong; with --format nagios as Nagios has it, 0, 1, 2, and 3, UNKNOWN,
where the configuration is wrong.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				form = "json"
			}
			if form != "text" && form != "json" && form != "nagios" {
				return usagef("--format must be text, json or nagios, is %q", form)
			}
			s, err := a.worker(cmd)
			if err != nil {
				return a.unknown(form, err)
			}
			return a.printChecks(form, s.checkAll(cmd.Context()))
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return a.unknown(form, cmd.Root().FlagErrorFunc()(cmd, err))
	})
	cmd.Flags().StringVar(&form, "format", "text", "text, json or nagios")
	completeWith(cmd, "format", "text", "json", "nagios")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --format json")
	return cmd
}

// unknown tells a monitor that nothing could be checked: Nagios reads standard output, and
// takes 2 for a trouble of what is checked.
func (a *app) unknown(form string, err error) error {
	if form != "nagios" {
		return err
	}
	text := strings.ReplaceAll(strings.ReplaceAll(err.Error(), "\n", "; "), "|", "/")
	a.printf("ENTRUST-WORKER UNKNOWN - %s\n", text)
	return codeError(stateUnknown)
}

// checkAll makes every check that can be made.
func (s *settings) checkAll(ctx context.Context) []checked {
	ctx, cancel := context.WithTimeout(ctx, 4*s.NATS.Timeout+s.Gateway.Timeout)
	defer cancel()

	var nc *connection
	all := []checked{
		timed("nats", func(c *checked) { nc = s.checkNATS(c) }),
	}
	if nc != nil {
		defer nc.Close()
	}
	all = append(all, timed("streams", func(c *checked) {
		if nc == nil {
			c.is(stateUnknown, "not tried without NATS")
			return
		}
		s.checkStreams(ctx, nc, c)
	}))

	var cache *mtlscache.Cache
	all = append(all, timed("key pair", func(c *checked) { cache = s.checkKeyPair(c) }))
	return append(all, timed("gateway", func(c *checked) {
		if cache == nil {
			c.is(stateUnknown, "not tried without a key pair")
			return
		}
		s.checkGateway(ctx, cache, c)
	}))
}

func timed(name string, check func(*checked)) checked {
	c := checked{Name: name}
	start := time.Now()
	check(&c)
	c.Seconds = time.Since(start).Seconds()
	return c
}

func (c *checked) is(state int, format string, args ...any) {
	c.state = state
	c.State = [...]string{"ok", "warning", "failed", "skipped"}[state]
	// One line each, whatever an error brings along.
	c.Detail = strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
}

// hinted is an error with its likely fix in one line.
func hinted(err error) error {
	if h, ok := errors.AsType[*hintError](err); ok {
		return fmt.Errorf("%w (%s)", err, h.hint)
	}
	return err
}

func (s *settings) checkNATS(c *checked) *connection {
	nc, err := s.connect("check")
	if err != nil {
		c.is(stateCritical, "%v", hinted(err))
		return nil
	}
	rtt, err := nc.RTT()
	if err != nil {
		c.is(stateCritical, "asking NATS for a sign of life: %v", err)
		return nc
	}
	c.is(stateOK, "%s, nats-server %s, round trip %v", nc.ConnectedUrlRedacted(), nc.ConnectedServerVersion(), rtt.Round(time.Microsecond))
	return nc
}

func (s *settings) checkStreams(ctx context.Context, nc *connection, c *checked) {
	found, err := streams.Inspect(ctx, nc.js, s.layout())
	if err != nil {
		c.is(stateCritical, "%v", hinted(explainStreams(err)))
		return
	}
	c.Findings = found
	var wrong, notes []streams.Finding
	for _, f := range found {
		if f.Note {
			notes = append(notes, f)
		} else {
			wrong = append(wrong, f)
		}
	}
	switch {
	case len(wrong) > 0:
		c.is(stateCritical, "%v%s", &wrong[0], andMore(wrong))
	case len(notes) > 0:
		c.is(stateWarning, "%v%s", &notes[0], andMore(notes))
	default:
		c.is(stateOK, "4 streams, 2 buckets and 4 consumers are as they must be")
	}
}

func andMore(f []streams.Finding) string {
	if len(f) == 1 {
		return ""
	}
	return fmt.Sprintf(", and %d more: --json shows all", len(f)-1)
}

func (s *settings) checkKeyPair(c *checked) *mtlscache.Cache {
	cache, err := mtlscache.New(s.transportConfig(slog.New(slog.DiscardHandler)))
	if err != nil {
		c.is(stateCritical, "%v", err)
		return nil
	}
	end := cache.NotAfter()
	switch left := time.Until(end); {
	case left <= 0:
		c.is(stateCritical, "the client certificate ended on %s", end.UTC().Format(time.RFC3339))
	case left < expiryWarning:
		c.is(stateWarning, "the client certificate ends on %s, in %.1f days", end.UTC().Format(time.RFC3339), left.Hours()/24)
	default:
		c.is(stateOK, "the client certificate is valid until %s", end.UTC().Format(time.RFC3339))
	}
	return cache
}

func (s *settings) checkGateway(ctx context.Context, cache *mtlscache.Cache, c *checked) {
	defer cache.Close()
	client, err := gateway.New(s.gatewayConfig(), &http.Client{Transport: cache}, nil)
	if err != nil {
		c.is(stateCritical, "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.Gateway.Timeout)
	defer cancel()
	if err := client.Probe(ctx); err != nil {
		c.is(stateCritical, "asking for CA %q: %v%s", s.Gateway.CAID, err, gatewayAdvice(err))
		return
	}
	if err := client.ProbeEnroll(ctx); err != nil {
		c.is(stateCritical, "asking for the enrollments of CA %q: %v%s", s.Gateway.CAID, err, gatewayAdvice(err))
		return
	}
	c.is(stateOK, "%s knows CA %q, dialect %s", s.Gateway.URL, s.Gateway.CAID, client.Dialect())
}

func gatewayAdvice(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return " (--gateway-server-ca-path names who may vouch for it)"
	}
	if gateway.FateOf(err) == gateway.Unauthorized {
		return " (the gateway refuses the client certificate)"
	}
	return ""
}

// printChecks prints the checks in a form, and returns the exit code as an error.
func (a *app) printChecks(form string, all []checked) error {
	worst := stateOK
	for _, c := range all {
		// What was not tried failed for a reason that is told already.
		if c.state == stateCritical || c.state == stateWarning && worst == stateOK {
			worst = c.state
		}
	}
	switch form {
	case "json":
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(struct {
			OK     bool      `json:"ok"`
			Checks []checked `json:"checks"`
		}{worst != stateCritical, all}); err != nil {
			return err
		}
	case "nagios":
		a.printf("%s\n", nagios(worst, all))
		if worst != stateOK {
			return codeError(worst)
		}
		return nil
	default:
		for _, c := range all {
			a.printf("%-8s %-9s %s\n", c.State, c.Name, c.Detail)
		}
	}
	if worst == stateCritical {
		return codeError(exitFailure)
	}
	return nil
}

// nagios is the one line a Nagios plugin prints: state, text, performance data.
func nagios(worst int, all []checked) string {
	var told, perf []string
	for _, c := range all {
		if c.state == stateCritical || c.state == stateWarning {
			told = append(told, c.Name+": "+c.Detail)
		}
		perf = append(perf, fmt.Sprintf("'%s'=%.4fs", c.Name, c.Seconds))
	}
	if len(told) == 0 {
		told = []string{"NATS, streams, key pair and gateway are well"}
	}
	// A bar would begin the performance data.
	text := strings.ReplaceAll(strings.Join(told, "; "), "|", "/")
	return fmt.Sprintf("ENTRUST-WORKER %s - %s | %s",
		[...]string{"OK", "WARNING", "CRITICAL"}[worst], text, strings.Join(perf, " "))
}
