package main

import (
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// defaultConfig is what holds where nothing is configured.
func defaultConfig() Config {
	layout := streams.DefaultLayout()
	schedule := pollsched.Default()
	words := gateway.DefaultStatusWords()
	return Config{
		Gateway: GatewayConfig{
			Dialect:           string(gateway.DialectAuto),
			EnrollTimeout:     120 * time.Second,
			Timeout:           30 * time.Second,
			ConnectTimeout:    10 * time.Second,
			IdleTimeout:       15 * time.Second,
			HalfRotationWait:  2 * time.Second,
			Approval:          approvalUnknown,
			EventDelay:        30 * time.Second,
			RetryAfterMax:     time.Hour,
			ThrottleFloor:     10 * time.Second,
			NotFoundGrace:     2 * time.Minute,
			PollPath:          gateway.DefaultPollPath,
			IssuedWords:       words.Issued,
			PendingWords:      words.Pending,
			RejectedWords:     words.Rejected,
			ReconcileSkew:     5 * time.Minute,
			ReconcileMaxPages: 20,
		},
		NATS: NATSConfig{
			URL:     "nats://127.0.0.1:4222",
			Timeout: 5 * time.Second,
		},
		Poll: PollConfig{
			First:         schedule.First,
			Factor:        schedule.Factor,
			Max:           schedule.Max,
			Jitter:        schedule.Jitter,
			RetryAfterMax: schedule.RetryAfterMax,
			MaxWait:       600 * time.Second,
			MaxWaitLimit:  30 * 24 * time.Hour,
		},
		Streams: StreamsConfig{
			Prefix:             layout.Prefix,
			Requests:           layout.Requests,
			Parked:             layout.Parked,
			Results:            layout.Results,
			Dead:               layout.Dead,
			Orders:             layout.Orders,
			Control:            layout.Control,
			RequestsMaxBytes:   Size(layout.RequestsMaxBytes),
			RequestsDuplicates: layout.RequestsDuplicates,
			ResultsDuplicates:  layout.ResultsDuplicates,
			ResultsMaxAge:      layout.ResultsMaxAge,
			DeadMaxAge:         layout.DeadMaxAge,
			OrdersMaxAge:       layout.OrdersMaxAge,
			IssuePending:       layout.IssuePending,
			RevokePending:      layout.RevokePending,
			OrderPending:       layout.OrderPending,
			DuePending:         layout.DuePending,
		},
		Log:  LogConfig{Level: "info", Format: "auto"},
		HTTP: HTTPConfig{Addr: "127.0.0.1:9464"},

		IssueConcurrency:  64,
		RevokeConcurrency: 16,
		PollConcurrency:   64,
		OrderConcurrency:  8,
		AckWait:           layout.AckWait,
		Drain:             25 * time.Second,
		OnLostReply:       onLostReplyHold,
		WatchdogEvery:     5 * time.Minute,
		Replicas:          layout.Replicas,
	}
}
