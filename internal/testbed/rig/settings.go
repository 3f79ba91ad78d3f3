package rig

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// defaultConcurrency is the default of the lanes issue and poll.
const defaultConcurrency = 32

// MaxWaitLimit is the longest deadline that a request may have at every site.
const MaxWaitLimit = 24 * time.Hour

// Settings configures a worker process. The zero value is a worker for quick tests: its
// enroll timeout is 2 s, and it polls about every second.
type Settings struct {
	Dialect     string // "certctl", "cagw" or "auto"; default "auto"
	OnLostReply string // "hold" or "resubmit"; default "hold"
	OnRollback  string // "lookup", "hold" or "resubmit"; default "lookup"
	// RollbackWindow is rollback_window. Default 2 min; negative: none.
	RollbackWindow time.Duration
	StateDir       string // default: none
	PolicyFile     string // default: none
	// ApprovalNever says that the gateway issues at once or not at all.
	ApprovalNever bool

	EnrollTimeout time.Duration // default 2 s
	Timeout       time.Duration // of every other call; default 2 s
	EventDelay    time.Duration // default 200 ms
	ThrottleFloor time.Duration // default 500 ms

	PollFirst, PollMax time.Duration // default 300 ms and 1.2 s
	MaxWait            time.Duration // in whole seconds; default 60 s
	Drain              time.Duration // default 5 s
	Concurrency        int           // of the lanes issue and poll; default 32

	// Binary is the worker's binary. Default: the site's.
	Binary string
	// Skew is how far the worker's host clock is ahead; negative if it is behind. It
	// needs a worker built by testbed.BuildSkewed.
	Skew time.Duration

	// DieAt kills a worker built with failpoints at a failpoint of the crash table, at
	// its DiePass-th pass (default the first).
	DieAt   string
	DiePass int
}

// environ returns the worker's environment.
func (s Settings) environ(at *Site) []string {
	l, gw := at.Layout, at.Gateway
	or := func(d, def time.Duration) string { return cmp.Or(d, def).String() }
	number := func(n, def int) string { return strconv.Itoa(cmp.Or(n, def)) }
	approval := "unknown"
	if s.ApprovalNever {
		approval = "never"
	}
	wait := cmp.Or(s.MaxWait, time.Minute)
	pollMax := cmp.Or(s.PollMax, 1200*time.Millisecond)
	env := map[string]string{
		"NATS_URL":                               at.WorkerNATS,
		"NATS_TIMEOUT":                           "3s",
		"CERTCTL_ENTRUST_API_URL":                strings.Replace(gw.URL(), gw.Addr(), at.WorkerGateway, 1),
		"CERTCTL_ENTRUST_CA_ID":                  gw.CAID(),
		"CERTCTL_ENTRUST_PROFILE_ID":             gw.Profile(),
		"CERTCTL_ENTRUST_CLIENT_CERT_PATH":       gw.ClientCert(),
		"CERTCTL_ENTRUST_CLIENT_KEY_PATH":        gw.ClientKey(),
		"CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS":  strconv.Itoa(int(wait / time.Second)),
		"ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH":  gw.ServerCA(),
		"ENTRUST_WORKER_GATEWAY_DIALECT":         cmp.Or(s.Dialect, "auto"),
		"ENTRUST_WORKER_GATEWAY_ENROLL_TIMEOUT":  or(s.EnrollTimeout, 2*time.Second),
		"ENTRUST_WORKER_GATEWAY_TIMEOUT":         or(s.Timeout, 2*time.Second),
		"ENTRUST_WORKER_GATEWAY_CONNECT_TIMEOUT": "1s",
		"ENTRUST_WORKER_GATEWAY_EVENT_DELAY":     or(s.EventDelay, 200*time.Millisecond),
		"ENTRUST_WORKER_GATEWAY_THROTTLE_FLOOR":  or(s.ThrottleFloor, 500*time.Millisecond),
		"ENTRUST_WORKER_GATEWAY_APPROVAL":        approval,
		// The simulator never forgets an order, so its 404 is final at once.
		"ENTRUST_WORKER_GATEWAY_NOT_FOUND_GRACE":    "1s",
		"ENTRUST_WORKER_ON_LOST_REPLY":              cmp.Or(s.OnLostReply, "hold"),
		"ENTRUST_WORKER_ON_ROLLBACK":                cmp.Or(s.OnRollback, "lookup"),
		"ENTRUST_WORKER_POLL_FIRST":                 s.first().String(),
		"ENTRUST_WORKER_POLL_MAX":                   pollMax.String(),
		"ENTRUST_WORKER_POLL_MAX_WAIT_LIMIT":        MaxWaitLimit.String(),
		"ENTRUST_WORKER_DRAIN":                      or(s.Drain, 5*time.Second),
		"ENTRUST_WORKER_WATCHDOG_EVERY":             "10s",
		"ENTRUST_WORKER_ISSUE_CONCURRENCY":          number(s.Concurrency, defaultConcurrency),
		"ENTRUST_WORKER_POLL_CONCURRENCY":           number(s.Concurrency, defaultConcurrency),
		"ENTRUST_WORKER_ACK_WAIT":                   l.AckWait.String(),
		"ENTRUST_WORKER_REPLICAS":                   strconv.Itoa(l.Replicas),
		"ENTRUST_WORKER_STREAMS_PREFIX":             l.Prefix,
		"ENTRUST_WORKER_STREAMS_REQUESTS_MAX_BYTES": strconv.FormatInt(l.RequestsMaxBytes, 10),
		"ENTRUST_WORKER_HTTP_ADDR":                  "127.0.0.1:0",
		"ENTRUST_WORKER_LOG_LEVEL":                  "debug",
		"ENTRUST_WORKER_LOG_FORMAT":                 "text",
	}
	// Workers of an earlier revision do not know this key.
	if s.RollbackWindow != 0 {
		env["ENTRUST_WORKER_ROLLBACK_WINDOW"] = max(0, s.RollbackWindow).String()
	}
	if at.WorkerUser != "" {
		env["NATS_USER"], env["NATS_PASSWORD"] = at.WorkerUser, at.WorkerPassword
	}
	if at.Audited {
		env["ENTRUST_WORKER_AUDIT_ENABLED"] = "on"
	}
	if s.StateDir != "" {
		env["ENTRUST_WORKER_STATE_DIR"] = s.StateDir
	}
	if s.PolicyFile != "" {
		env["ENTRUST_WORKER_POLICY_FILE"] = s.PolicyFile
		if !at.Audited {
			env["ENTRUST_WORKER_AUDIT_ENABLED"] = "off" // it would be on with a policy
		}
	}
	if s.DieAt != "" {
		env["FAILPOINT_DIE_AT"], env["FAILPOINT_DIE_PASS"] = s.DieAt, number(s.DiePass, 1)
	}
	if s.Skew != 0 {
		env[testbed.SkewVariable] = s.Skew.String()
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// Submissions returns the highest number of enrollments that a worker has in flight:
// those of the lane issue, and those of resubmissions.
func (s Settings) Submissions() int {
	n := cmp.Or(s.Concurrency, defaultConcurrency)
	return n + max(n/4, 4)
}

func (s Settings) first() time.Duration { return cmp.Or(s.PollFirst, 300*time.Millisecond) }

// jitter is the relative variation of a worker's waits.
const jitter = 0.2

// firstPoll returns the shortest time between an enrollment and its first poll.
func (s Settings) firstPoll() time.Duration {
	return time.Duration(float64(s.first()) * (1 - jitter))
}
