package run

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// openAudit gives the worker what its audit trail needs.
func openAudit(s *config.Settings, cache *mtlscache.Cache, cfg *consumer.Config, log *slog.Logger) error {
	if !s.Audited() {
		return nil
	}
	cfg.Credentials = func() string {
		return fmt.Sprintf("client certificate until %s, pair %d", cache.NotAfter().UTC().Format(time.RFC3339), cache.Reloads()+1)
	}
	path := s.Audit.KeyFile.Reveal()
	if path == "" {
		log.Warn("no audit.key_file is configured: the heads of the audit trail are not signed")
		return nil
	}
	var err error
	if cfg.AuditKey, err = audit.ReadKey(path); err != nil {
		return usage.WithHint(usage.Wrap(err), "openssl genpkey -algorithm ed25519 -out audit.key creates one")
	}
	log.Info("the heads of the audit trail are signed", "key", cfg.AuditKey.ID())
	return nil
}
