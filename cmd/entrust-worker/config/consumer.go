package config

import "github.com/entrust-worker/entrust-worker/internal/consumer"

// Consumer is what the worker itself needs. The keys submit_max_wait, on_rollback and
// format have no field there yet.
func (c Config) Consumer(metrics *consumer.Metrics) consumer.Config {
	return consumer.Config{
		Layout:        c.Layout(),
		CAID:          c.Gateway.CAID,
		ProfileID:     c.Gateway.ProfileID,
		Issue:         c.IssueConcurrency,
		Revoke:        c.RevokeConcurrency,
		Poll:          c.PollConcurrency,
		Order:         c.ManageConcurrency,
		Schedule:      c.Schedule(),
		MaxWait:       c.Poll.MaxWait,
		MaxWaitLimit:  c.Poll.MaxWaitLimit,
		EnrollTimeout: c.Gateway.EnrollTimeout,
		EventDelay:    c.Gateway.EventDelay,
		OnLostReply:   c.OnLostReply,
		ApprovalNever: c.Gateway.Approval == ApprovalNever,
		Rate:          c.Gateway.Rate,
		FleetRate:     c.Gateway.FleetRate,
		Drain:         c.Drain,
		WatchdogEvery: c.WatchdogEvery,
		Metrics:       metrics,
	}
}
