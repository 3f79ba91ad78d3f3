package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/span"
)

// Thresholds of problems. The alerts of deploy/prometheus/rules.yaml use the same
// thresholds.
const (
	certificateSoon = 14 * 24 * time.Hour // before the end of the client certificate
	certificateNow  = 2 * 24 * time.Hour
	skewed          = 10 * time.Second
	requestOld      = 30 * time.Minute
	requestsMany    = 1000
	letterOld       = 3 * 24 * time.Hour
	fillingUp       = 0.8
	full            = 0.99 // a full stream may still have room for a smaller message
	rollbackShown   = 7 * 24 * time.Hour
	scansMissed     = 3 // in intervals between two scans of the watchdog
	scanDefault     = 5 * time.Minute
)

// Severity is the urgency of a problem.
type Severity string

// The severities.
const (
	// Warning needs an operator today.
	Warning Severity = "warning"
	// Critical means that orders make no progress, or that the fleet cannot be seen.
	Critical Severity = "critical"
)

// Problem is one problem of the fleet.
type Problem struct {
	Severity Severity `json:"severity"`
	// Text is one line with the figures. It is untrusted.
	Text string `json:"text"`
	// Do is the recommended action in one line; may be empty.
	Do string `json:"do,omitempty"`
}

// Worst returns the highest severity of the problems; empty for none.
func Worst(problems []Problem) Severity {
	worst := Severity("")
	for _, p := range problems {
		if p.Severity == Critical || worst == "" {
			worst = p.Severity
		}
	}
	return worst
}

// Problems returns the fleet's problems, critical ones first. Of a stale part it reports
// only that it is stale. now is by this host's clock.
func (s Snapshot) Problems(now time.Time) []Problem {
	f := findings{now: now}
	f.reading(s)
	if !s.Fleet.Stale() && s.Fleet.Known() {
		f.workers(s.Fleet.Of.Workers)
		f.gateway(s.Fleet.Of)
		f.watchdog(s.Fleet.Of)
	}
	if !s.Lanes.Stale() {
		f.lanes(s)
	}
	if !s.Letters.Stale() {
		f.letters(s.Letters.Of)
	}
	if !s.Streams.Stale() {
		f.streams(s.Streams.Of)
	}
	// Alphabetically, critical comes before warning.
	slices.SortStableFunc(f.all, func(a, b Problem) int { return cmp.Compare(a.Severity, b.Severity) })
	return f.all
}

// findings collects problems.
type findings struct {
	now time.Time
	all []Problem
}

func (f *findings) add(severity Severity, do, format string, args ...any) {
	p := Problem{Severity: severity, Text: oneLine(fmt.Sprintf(format, args...)), Do: do}
	if !slices.Contains(f.all, p) {
		f.all = append(f.all, p)
	}
}

func (f *findings) warn(do, format string, args ...any) { f.add(Warning, do, format, args...) }
func (f *findings) fail(do, format string, args ...any) { f.add(Critical, do, format, args...) }

// reading finds parts that cannot be read.
func (f *findings) reading(s Snapshot) {
	if s.NATS.Problem != "" {
		f.fail("entrust-worker check", "%s", s.NATS.Problem)
		return // every part is stale for this reason
	}
	for _, p := range []struct{ what, problem string }{
		{"workers", s.Fleet.Problem}, {"lanes", s.Lanes.Problem},
		{"parked orders", s.Parked.Problem}, {"dead letters", s.Letters.Problem}, {"streams", s.Streams.Problem},
	} {
		if p.problem != "" {
			f.fail("entrust-worker check", "the %s cannot be read: %s", p.what, p.problem)
		}
	}
	if s.NATS.Skew.Abs() > skewed+s.NATS.RTT {
		f.warn("set this host's clock", "the clock of this host is %s from the NATS server's", span.Of(s.NATS.Skew))
	}
}

func (f *findings) workers(workers []control.Presence) {
	live := 0
	for _, w := range workers {
		if w.Silent {
			f.warn("check the worker and its host", "worker %s has been silent for %s", w.Worker, span.Of(f.now.Sub(w.Seen)))
			continue
		}
		live++
		if w.SkewKnown && w.Skew.Abs() > skewed {
			f.warn("set the clock of its host", "the clock of worker %s is %s from the NATS server's", w.Worker, span.Of(w.Skew))
		}
		f.certificate(w)
	}
	if live == 0 {
		f.fail("entrust-worker run", "no worker is running; requests wait")
	}
}

func (f *findings) certificate(w control.Presence) {
	const do = "replace certificate and key, then send SIGHUP"
	left := w.CertificateEnd.Sub(f.now)
	switch {
	case w.CertificateProblem != "":
		f.fail(do, "the key pair of worker %s cannot be used: %s", w.Worker, w.CertificateProblem)
	case w.CertificateEnd.IsZero() || left > certificateSoon:
	case left <= 0:
		f.fail(do, "the client certificate of worker %s ended %s ago", w.Worker, span.Of(left))
	case left < certificateNow:
		f.fail(do, "the client certificate of worker %s ends in %s", w.Worker, span.Of(left))
	default:
		f.warn(do, "the client certificate of worker %s ends in %s", w.Worker, span.Of(left))
	}
}

// gateway finds reasons why calls wait.
func (f *findings) gateway(s control.State) {
	live, refused := 0, []control.Presence{}
	for _, w := range s.Workers {
		if w.Silent {
			continue
		}
		if live++; w.GatewayProblem != "" {
			refused = append(refused, w)
		}
	}
	switch {
	case len(refused) == 0:
	case len(refused) == live:
		f.fail("entrust-worker check", "no worker calls the gateway: %s", refused[0].GatewayProblem)
	default:
		f.warn("entrust-worker check", "%d of %d workers do not call the gateway: %s", len(refused), live, refused[0].GatewayProblem)
	}
	for _, b := range s.Breakers {
		since := ""
		if !b.Since.IsZero() {
			since = " for " + span.Of(f.now.Sub(b.Since))
		}
		f.warn("ask the operators of the gateway", "the breaker of %s at CA %s is open%s%s", b.Operation, b.CA, since, detail(b.Cause))
	}
	for _, u := range s.Suspensions {
		f.warn("entrust-worker resume", "%s suspended by %s for %s%s", u.Scope, u.Operator, span.Of(f.now.Sub(u.Since)), detail(u.Reason))
	}
	for _, p := range s.Pauses {
		f.warn("", "the gateway asked for a pause, which ends in %s", span.Of(p.Until.Sub(f.now)))
	}
}

func (f *findings) watchdog(s control.State) {
	limit := scansMissed * cmp.Or(s.Watchdog.Every, scanDefault)
	last := s.Watchdog.Scanned
	if last.IsZero() {
		// The watchdog of a fleet that has just started has not scanned yet.
		for _, w := range s.Workers {
			if !w.Started.IsZero() && (last.IsZero() || w.Started.Before(last)) {
				last = w.Started
			}
		}
	}
	if ago := f.now.Sub(last); !last.IsZero() && ago > limit {
		f.warn("entrust-worker check", "the watchdog has finished no scan for %s; it does not find lost wake-ups", span.Of(ago))
	}
	if ago := f.now.Sub(s.RolledBack); s.Rollback.Count > 0 && ago < rollbackShown {
		f.warn("read docs/operations.md: the bus lost writes", "NATS lost its last writes %s ago, as worker %s noticed", span.Of(ago), s.Rollback.Worker)
	}
}

// lanes finds requests that wait although no breaker, pause or suspension stops them.
func (f *findings) lanes(s Snapshot) {
	held := len(s.Fleet.Of.Breakers) > 0 || len(s.Fleet.Of.Pauses) > 0 || len(s.Fleet.Of.Suspensions) > 0 ||
		slices.ContainsFunc(s.Fleet.Of.Workers, func(w control.Presence) bool { return w.GatewayProblem != "" })
	if held {
		return
	}
	for _, l := range s.Lanes.Of {
		if l.Name != "issue" && l.Name != "revoke" && l.Name != "manage" {
			continue // due messages wait for the gateway
		}
		age := f.now.Sub(l.Oldest)
		switch {
		case !l.Oldest.IsZero() && age > requestOld:
			f.warn("entrust-worker orders ls", "a request in the lane %s has no result for %s", l.Name, span.Of(age))
		case l.Backlog > requestsMany:
			f.warn("start more workers, or raise their concurrency", "%d requests wait in the lane %s", l.Backlog, l.Name)
		}
	}
}

func (f *findings) letters(all []Letters) {
	for _, l := range all {
		if l.Count == 0 {
			continue
		}
		do := "entrust-worker dead ls --reason " + string(l.Reason)
		age := f.now.Sub(l.Oldest)
		switch l.Reason {
		case order.Unconfirmed, order.WrongCertificate, order.Crashed:
			f.warn(do, "%s: %s", l.Reason, plural(l.Count, "dead letter"))
		default:
			if !l.Oldest.IsZero() && age > letterOld {
				f.warn(do, "%s: %s, the oldest %s old", l.Reason, plural(l.Count, "dead letter"), span.Of(age))
			}
		}
		if l.Fullness > fillingUp {
			f.warn(do, "%s: a producer has used %.0f %% of its room for dead letters", l.Reason, 100*l.Fullness)
		}
	}
}

func (f *findings) streams(all []Stream) {
	for _, s := range all {
		switch {
		case s.Fullness >= full:
			f.fail("make room, or raise the limit of the stream", "the stream %s is full and takes no message", s.Name)
		case s.Fullness >= fillingUp:
			f.warn("make room, or raise the limit of the stream", "the stream %s is %.0f %% full", s.Name, 100*s.Fullness)
		}
		if s.Behind > 0 {
			f.warn("check the NATS servers", "%d of the %d replicas of %s are behind", s.Behind, s.Replicas, s.Name)
		}
	}
}

func detail(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
