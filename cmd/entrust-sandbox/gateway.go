package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// newGatewayCommand runs the gateway simulator alone.
func newGatewayCommand() *cobra.Command {
	cfg := gatewaytest.Config{Addr: "127.0.0.1:8443", Dialect: gatewaytest.Both, Seed: 1}
	dialect := string(cfg.Dialect)
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run the gateway simulator alone",
		Long: `Run the simulator of the Entrust CA Gateway: HTTPS with mutual TLS and a CA of its
own. Use it for trials and tests only: its keys are on disk without protection.

The common name of an order can decide how it ends: issue-…, reject-…, pending-…,
decline-… (pending, then rejected) and hold-… (pending until you approve it on the
control listener). --pending and --reject decide about all others.

The control listener (--admin) has no authentication. GET /healthz shows whether the
simulator is up, GET /_sim/stats shows what it counted.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Dialect = gatewaytest.Dialect(dialect)
			if err := checkGateway(cfg); err != nil {
				return &usageError{err}
			}
			return runGateway(cmd.Context(), cfg, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&cfg.Addr, "listen", cfg.Addr, "address of the gateway")
	f.StringVar(&cfg.AdminAddr, "admin", "", "address of the control listener, plain HTTP (default: none)")
	f.StringVar(&cfg.Dir, "data", "", "folder for keys and, with --persist, for orders (default: a temporary folder)")
	f.BoolVar(&cfg.Persist, "persist", false, "keep orders across a restart; needs --data")
	f.StringSliceVar(&cfg.Names, "name", nil, "additional name or address in the server's certificate; may be repeated")
	f.StringVar(&dialect, "dialect", dialect, "certctl, cagw or both")
	f.StringVar(&cfg.BasePath, "base-path", "", "context path in front of /v1, such as /cagw")
	f.StringSliceVar(&cfg.CAIDs, "ca-id", nil, "id of a certificate authority; may be repeated (default sim~issuing)")
	f.StringSliceVar(&cfg.Profiles, "profile", nil, "id of a profile; may be repeated (default tls-server,tls-client)")
	f.DurationVar(&cfg.Latency, "latency", 20*time.Millisecond, "least time that an answer takes")
	f.DurationVar(&cfg.LatencyJitter, "latency-jitter", 0, "most time that is added to it at random")
	f.Float64Var(&cfg.PendingFraction, "pending", 0, "share of the orders that wait for approval, 0 to 1")
	f.Float64Var(&cfg.RejectFraction, "reject", 0, "share of the orders that are rejected, 0 to 1")
	f.DurationVar(&cfg.ApproveAfter, "approve-after", 2*time.Second, "how long an order waits for approval; 0: until it is approved by hand")
	f.IntVar(&cfg.Quota, "quota", 0, "requests in 10 s before 429; 0: no quota")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "seed of every random choice")
	cmd.AddCommand(newKeysCommand())
	return cmd
}

// checkGateway reports the flags that cannot be obeyed.
func checkGateway(cfg gatewaytest.Config) error {
	var errs []error
	if cfg.Dialect != gatewaytest.CertCtl && cfg.Dialect != gatewaytest.CAGW && cfg.Dialect != gatewaytest.Both {
		errs = append(errs, fmt.Errorf("--dialect must be certctl, cagw or both, is %q", cfg.Dialect))
	}
	if !(cfg.PendingFraction >= 0 && cfg.PendingFraction <= 1) || !(cfg.RejectFraction >= 0 && cfg.RejectFraction <= 1) {
		errs = append(errs, fmt.Errorf("--pending and --reject must be 0 to 1, are %v and %v", cfg.PendingFraction, cfg.RejectFraction))
	}
	if cfg.Latency < 0 || cfg.LatencyJitter < 0 || cfg.ApproveAfter < 0 {
		errs = append(errs, fmt.Errorf("--latency, --latency-jitter and --approve-after must not be negative, are %v, %v and %v", cfg.Latency, cfg.LatencyJitter, cfg.ApproveAfter))
	}
	if cfg.Persist && cfg.Dir == "" {
		errs = append(errs, errors.New("--persist needs --data"))
	}
	if cfg.BasePath != "" && !strings.HasPrefix(cfg.BasePath, "/") {
		errs = append(errs, fmt.Errorf("--base-path must begin with a slash, is %q", cfg.BasePath))
	}
	return errors.Join(errs...)
}

func runGateway(ctx context.Context, cfg gatewaytest.Config, stderr io.Writer) error {
	gw, err := gatewaytest.Start(cfg)
	if err != nil {
		return fmt.Errorf("starting the gateway simulator: %w", err)
	}
	fmt.Fprintf(stderr, "Gateway  %s (mutual TLS), CA id %s, profile %s\n", gw.URL(), gw.CAID(), gw.Profile())
	if gw.AdminURL() != "" {
		fmt.Fprintf(stderr, "Control  %s\n", gw.AdminURL())
	}
	printKeys(stderr, gw)
	<-ctx.Done()
	return gw.Close()
}

// newKeysCommand makes the key pairs and exits, so that a container can mount
// them before the gateway is up.
func newKeysCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Create the simulator's CAs and the client key pair in a folder, and exit",
		Long: `Create what a gateway simulator with --data DIR creates at its start. The verb does not
change files that exist.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return &usageError{errors.New("--dir is missing: name a folder")}
			}
			gw, err := gatewaytest.Start(gatewaytest.Config{Dir: dir, InMemory: true})
			if err != nil {
				return err
			}
			printKeys(cmd.OutOrStdout(), gw)
			return gw.Close()
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder for the CAs and the key pair")
	return cmd
}

func printKeys(out io.Writer, gw *gatewaytest.Server) {
	fmt.Fprintf(out, "Client   %s, %s (PKCS#12: %s)\nTrust    %s\n", gw.ClientCert(), gw.ClientKey(), gw.ClientPKCS12(), gw.ServerCA())
}
