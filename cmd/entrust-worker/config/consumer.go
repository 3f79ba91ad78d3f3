package config

import (
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
)

// Consumer is what the worker itself needs. The key format has no field
// there yet.
func (c Config) Consumer(counts *metrics.Worker) consumer.Config {
	// Validation made them before: they are right.
	properties, _ := consumer.NewProperties(c.Gateway.Properties)
	return consumer.Config{
		Layout:        c.Layout(),
		CAID:          c.Gateway.CAID,
		ProfileID:     c.Gateway.ProfileID,
		Issue:         c.IssueConcurrency,
		Revoke:        c.RevokeConcurrency,
		Poll:          c.PollConcurrency,
		Gateway:       c.Gateway.URL,
		Manage:        c.ManageConcurrency,
		Schedule:      c.Schedule(),
		MaxWait:       c.Poll.MaxWait,
		MaxWaitLimit:  c.Poll.MaxWaitLimit,
		EnrollTimeout: c.Gateway.EnrollTimeout,
		EventDelay:    c.Gateway.EventDelay,
		OnLostReply:   c.OnLostReply,
		OnRollback:    c.OnRollback,
		StateDir:      c.StateDir,
		ApprovalNever: c.Gateway.Approval == ApprovalNever,
		Rate:          c.Gateway.Rate,
		FleetRate:     c.Gateway.FleetRate,
		Drain:         c.Drain,
		SubmitMaxWait: c.SubmitMaxWait,
		Metrics:       counts,

		RollbackWindow:   c.RollbackWindow,
		RefuseUnverified: c.Gateway.UnverifiedKeys == UnverifiedRefuse,
		IssueCRL:         c.Gateway.IssueCRL,
		Properties:       properties,
	}
}
