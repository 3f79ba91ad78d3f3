package config

import "time"

// Audit says what is kept of decisions.
type Audit struct {
	Enabled  string        `koanf:"enabled" show:"true" doc:"Whether the worker writes an audit trail: one record for each decision that has an effect outside. on, off, or auto. auto is on where policy.file is set."`
	KeyFile  Secret        `koanf:"key_file" secret:"file" doc:"Path of an ed25519 private key, PKCS#8 in PEM, that signs the heads of the audit trail. Without it, an attacker who can rewrite the whole stream can forge a trail."`
	MaxBytes Size          `koanf:"max_bytes" doc:"Size at which the stream of the audit trail is full, at least 1MiB; a record takes about 1KiB. Too small: a full stream stops the lanes of every worker until an operator makes it larger."`
	MaxAge   time.Duration `koanf:"max_age" doc:"How long NATS keeps records of the audit trail, at least 24h."`
}

// Words of Audit.Enabled.
const (
	AuditAuto = "auto"
	AuditOn   = "on"
	AuditOff  = "off"
)

// Audited reports whether there is an audit trail.
func (c Config) Audited() bool {
	return c.Audit.Enabled == AuditOn || c.Audit.Enabled == AuditAuto && c.Policy.File != ""
}

func (s *Settings) checkAudit(c *checker) {
	c.oneOf("audit.enabled", s.Audit.Enabled, AuditAuto, AuditOn, AuditOff)
	if s.Audit.MaxBytes < 1<<20 {
		c.add("audit.max_bytes", "must be at least 1MiB, is %v", s.Audit.MaxBytes)
	}
	if s.Audit.MaxAge < 24*time.Hour {
		c.add("audit.max_age", "must be at least 24h, is %v", s.Audit.MaxAge)
	}
}
