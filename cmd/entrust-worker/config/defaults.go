package config

import (
	"time"

	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Default is what holds where nothing is configured. It is the one place of defaults:
// the packages below get every value from here.
func Default() Config {
	layout := streams.DefaultLayout()
	schedule := pollsched.Default()
	return Config{
		Gateway: Gateway{
			Dialect:        string(gateway.DialectAuto),
			UnverifiedKeys: UnverifiedPass,
			IssueCRL:       consumer.CRLEach,
			EnrollTimeout:  120 * time.Second,
			Timeout:        30 * time.Second,
			ConnectTimeout: 10 * time.Second,
			IdleTimeout:    15 * time.Second, // Tomcat closes after 20, nginx after 75
			Approval:       ApprovalUnknown,
			EventDelay:     30 * time.Second,
			ThrottleFloor:  10 * time.Second,
			NotFoundGrace:  2 * time.Minute,
			Poll:           string(gateway.PollAuto),
			PollPath:       gateway.DefaultPollPath,
		},
		NATS: NATS{
			URL:     "nats://127.0.0.1:4222",
			Timeout: 5 * time.Second,
		},
		Poll: Poll{
			First:        schedule.First,
			Max:          schedule.Max,
			MaxWait:      600 * time.Second,
			MaxWaitLimit: 30 * 24 * time.Hour,
		},
		Streams: Streams{
			Prefix:           layout.Prefix,
			RequestsMaxBytes: Size(layout.RequestsMaxBytes),
			ResultsMaxAge:    layout.ResultsMaxAge,
			OrdersMaxAge:     layout.OrdersMaxAge,
			DeadMaxAge:       layout.DeadMaxAge,
		},
		Audit: Audit{Enabled: AuditAuto, MaxBytes: Size(layout.AuditMaxBytes), MaxAge: layout.AuditMaxAge},

		Log:  Log{Level: "info", Format: "auto"},
		HTTP: HTTP{Addr: "127.0.0.1:9464"},

		IssueConcurrency:  64,
		RevokeConcurrency: 16,
		PollConcurrency:   64,
		ManageConcurrency: 8,
		AckWait:           layout.AckWait,
		Drain:             25 * time.Second,
		SubmitMaxWait:     24 * time.Hour,
		OnLostReply:       Hold,
		OnRollback:        Lookup,
		RollbackWindow:    2 * time.Minute, // nats-server's default sync_interval
		WatchdogEvery:     5 * time.Minute,
		Replicas:          layout.Replicas,
		Format:            maxFormat,
	}
}

// Words of the configuration.
const (
	UnverifiedPass   = "pass"
	UnverifiedRefuse = "refuse"

	ApprovalUnknown = "unknown"
	ApprovalNever   = "never"

	Hold     = "hold"
	Resubmit = "resubmit"
	Lookup   = "lookup"
)

// maxFormat is the newest format of records and wake-ups that this worker writes.
const maxFormat = 1
