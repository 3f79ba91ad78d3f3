package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// within bounds one check.
const within = 10 * time.Second

// errTooLong ends a check that takes longer.
var errTooLong = fmt.Errorf("no answer within %v, the limit of one check", within)

// checker makes the checks, one after the other.
type checker struct {
	*config.Settings
	scrub *config.Scrubber

	mu   sync.Mutex
	stop context.CancelCauseFunc // ends the check of the bus that is made now; nil: none is
}

// all makes every check that can be made.
func (k *checker) all(ctx context.Context) []checked {
	var bus *connect.Bus
	all := []checked{
		k.timed(ctx, "nats", func(_ context.Context, c *checked) { bus = k.nats(c) }),
	}
	if bus != nil {
		defer bus.Close()
	}
	onBus := func(check func(context.Context, *connect.Bus, *checked)) func(context.Context, *checked) {
		return func(ctx context.Context, c *checked) {
			if bus == nil {
				c.is(stateUnknown, "not tried without NATS")
				return
			}
			ctx, stop := context.WithCancelCause(ctx)
			k.onDenied(stop)
			defer k.onDenied(nil)
			defer stop(nil)
			check(ctx, bus, c)
		}
	}
	all = append(all, k.timed(ctx, "streams", onBus(k.streams)), k.timed(ctx, "clock", onBus(k.clock)))

	if k.Policy.File != "" {
		all = append(all, k.timed(ctx, "policy", k.policy))
	}
	if loose := k.LooseFiles(); len(loose) > 0 {
		all = append(all, k.timed(ctx, "file modes", func(_ context.Context, c *checked) { c.is(stateWarning, "%s", strings.Join(loose, "; ")) }))
	}
	var cache *mtlscache.Cache
	all = append(all, k.timed(ctx, "key pair", func(_ context.Context, c *checked) { cache = k.keyPair(c) }))
	return append(all, k.timed(ctx, "gateway", func(ctx context.Context, c *checked) {
		if cache == nil {
			c.is(stateUnknown, "not tried without a key pair")
			return
		}
		k.gateway(ctx, cache, c)
	}))
}

// timed makes one check within its limit.
func (k *checker) timed(ctx context.Context, name string, check func(context.Context, *checked)) checked {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errTooLong)
	defer cancel()
	c := checked{Name: name}
	start := time.Now()
	check(ctx, &c)
	c.Seconds = time.Since(start).Seconds()
	c.Detail = k.scrub.Scrub(c.Detail)
	return c
}

func (k *checker) onDenied(stop context.CancelCauseFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stop = stop
}

// denied ends the check of the bus that is made now where NATS denies it a permission: what
// it asked is never answered.
func (k *checker) denied(_ *nats.Conn, _ *nats.Subscription, err error) {
	missing := connect.Denied(err)
	k.mu.Lock()
	defer k.mu.Unlock()
	if missing != nil && k.stop != nil {
		k.stop(missing)
	}
}

// because returns why ctx is done, if that is what ended a check, and otherwise err.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (c *checked) is(state int, format string, args ...any) {
	c.state = state
	c.State = [...]string{"ok", "warning", "failed", "skipped"}[state]
	// One line each, whatever an error brings along.
	c.Detail = strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
}

// hinted is an error with its likely fix in one line.
func hinted(err error) error {
	if hint := usage.Hint(err); hint != "" {
		return fmt.Errorf("%w (%s)", err, hint)
	}
	return err
}

func (k *checker) policy(_ context.Context, c *checked) {
	p, err := policyfile.Read(k.Policy.File, k.Streams.OrdersMaxAge)
	if err != nil {
		c.is(stateCritical, "%v", err)
		return
	}
	c.is(stateOK, "producers with rules: %d, policy %s", len(p.Producers()), policyfile.Name(p))
}

func (k *checker) nats(c *checked) *connect.Bus {
	bus, err := connect.Open(k.Settings, k.scrub, "check", nats.ErrorHandler(k.denied))
	if err != nil {
		c.is(stateCritical, "%v", hinted(err))
		return nil
	}
	rtt, err := bus.RTT()
	if err != nil {
		c.is(stateCritical, "measuring the round trip to NATS: %v", err)
		return bus
	}
	c.is(stateOK, "%s, nats-server %s, round trip %v", bus.ConnectedUrlRedacted(), bus.ConnectedServerVersion(), rtt.Round(time.Microsecond))
	return bus
}

func (k *checker) streams(ctx context.Context, bus *connect.Bus, c *checked) {
	found, err := streams.Inspect(ctx, bus.JS, bus.Layout)
	if err != nil {
		c.is(stateCritical, "%v", hinted(because(ctx, connect.ExplainStreams(err))))
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
		streams, buckets, consumers := k.Layout().Objects()
		c.is(stateOK, "%d streams, %d buckets and %d consumers are set up as required", streams, buckets, consumers)
	}
	if c.state == stateOK {
		k.rollback(ctx, bus, c)
	}
}

// rollbackShown is how long check warns of a rollback of the bus.
const rollbackShown = 7 * 24 * time.Hour

// rollback warns where a worker noticed that the bus lost its last writes.
func (k *checker) rollback(ctx context.Context, bus *connect.Bus, c *checked) {
	last, err := control.Open(control.Config{JS: bus.JS, Bucket: bus.Layout.Control}).Rollback(ctx)
	switch {
	case err != nil:
		c.is(stateWarning, "%v", hinted(because(ctx, err)))
	case last.Count > 0 && time.Since(last.At) < rollbackShown:
		c.is(stateWarning, "the bus lost its last writes: worker %s noticed it at %s; on_rollback: %s decides about requests stored before", last.Worker, last.At.UTC().Format(time.RFC3339), k.OnRollback)
	}
}

// clock compares this host's clock with that of the server which leads the request stream.
func (k *checker) clock(ctx context.Context, bus *connect.Bus, c *checked) {
	asked := time.Now()
	st, err := bus.JS.Stream(ctx, bus.Layout.Requests)
	if err != nil {
		c.is(stateUnknown, "not tried without the stream %s: %v", bus.Layout.Requests, because(ctx, err))
		return
	}
	half := time.Since(asked) / 2
	skew := st.CachedInfo().TimeStamp.Sub(asked.Add(half))
	state := stateOK
	if skew.Abs() > skewWarning+half {
		state = stateWarning
	}
	skew = skew.Round(time.Millisecond)
	where := "ahead of"
	if skew < 0 {
		where = "behind"
	}
	c.is(state, "the NATS server's clock is %v %s this host's, within %v", skew.Abs(), where, half.Round(time.Microsecond))
}

func andMore(f []streams.Finding) string {
	if len(f) == 1 {
		return ""
	}
	return fmt.Sprintf(", and %d more: --json shows all", len(f)-1)
}

func (k *checker) keyPair(c *checked) *mtlscache.Cache {
	cache, err := mtlscache.New(k.Transport(slog.New(slog.DiscardHandler)))
	if err != nil {
		c.is(stateCritical, "%v", k.ExplainKeyPair(err))
		return nil
	}
	end, warnings := cache.NotAfter(), cache.Warnings()
	switch left := time.Until(end); {
	case left <= 0:
		c.is(stateCritical, "the client certificate expired on %s", end.UTC().Format(time.RFC3339))
	case left < expiryWarning:
		c.is(stateWarning, "the client certificate expires on %s, in %.1f days", end.UTC().Format(time.RFC3339), left.Hours()/24)
	case len(warnings) > 0:
		c.is(stateWarning, "the client certificate is valid until %s; %s", end.UTC().Format(time.RFC3339), strings.Join(warnings, "; "))
	default:
		c.is(stateOK, "the client certificate is valid until %s", end.UTC().Format(time.RFC3339))
	}
	return cache
}

func (k *checker) gateway(ctx context.Context, cache *mtlscache.Cache, c *checked) {
	defer cache.Close()
	client, err := gateway.New(k.GatewayClient(), &http.Client{Transport: cache}, nil)
	if err != nil {
		c.is(stateCritical, "%v", err)
		return
	}
	if err := client.Probe(ctx); err != nil {
		c.is(stateCritical, "asking for CA %q: %v%s", k.Gateway.CAID, limited(ctx, err), gatewayAdvice(err))
		return
	}
	if err := client.ProbeEnroll(ctx); err != nil {
		c.is(stateCritical, "asking for the enrollments of CA %q: %v%s", k.Gateway.CAID, limited(ctx, err), gatewayAdvice(err))
		return
	}
	c.is(stateOK, "%s knows CA %q, dialect %s", k.Gateway.URL, k.Gateway.CAID, client.Dialect())
}

// limited says so where it is the limit of a check that ended a call.
func limited(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	return err
}

func gatewayAdvice(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return " (set --gateway-server-ca-path to the CA of the gateway's certificate)"
	}
	if gateway.FateOf(err) == gateway.Unauthorized {
		return " (the gateway refuses the client certificate)"
	}
	return ""
}
