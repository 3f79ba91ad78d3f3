package run

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
)

// openPolicy opens the policy file and keeps it in step until ctx is done. It returns nil
// where none is configured.
func openPolicy(ctx context.Context, s *config.Settings, registry *prometheus.Registry, log *slog.Logger) (*policyfile.File, error) {
	if s.Policy.File == "" {
		log.Warn("no policy.file is configured: every producer may ask for everything")
		return nil, nil
	}
	f, err := policyfile.Open(s.Policy.File, s.Streams.OrdersMaxAge, log)
	if err != nil {
		return nil, usage.WithHint(usage.Wrap(err), "a worker does not start without its policy; entrust-worker policy show checks the file")
	}
	log.Info("the policy is in force", "policy", policyfile.Name(f.Policy()), "producers", len(f.Policy().Producers()))
	const namespace = "entrust_worker"
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "policy_file_rejected", Help: "1 while the policy file is missing or wrong; the last good policy stays in force.",
	}, func() float64 {
		if f.Rejected() {
			return 1
		}
		return 0
	}))
	go f.Run(ctx)
	return f, nil
}
