package run

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A warning that repeats is logged at once, then after each of these since it was logged
// last, and from then on after the last of them.
var repeatAfter = [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

const (
	// forgottenAfter is how long a warning has to be away to be logged at once again.
	forgottenAfter = 2 * time.Minute
	// maxRepeats bounds how many warnings are remembered. Where there are more, all are
	// forgotten: they are logged once too often.
	maxRepeats = 500
)

// repeats is a handler that leaves out warnings and errors that repeat: records of the same
// message and the same attributes, durations aside. The next one that it passes on says in
// "repeats" how many it left out. The end of an outage, a record with the attribute
// "outage", makes it forget them all. Safe for concurrent use.
type repeats struct {
	slog.Handler
	own  string // attributes and groups of the handler, as text
	seen *seen
}

// newRepeats returns a handler that passes records on to next.
func newRepeats(next slog.Handler) slog.Handler {
	return &repeats{Handler: next, seen: &seen{all: map[string]*repeated{}}}
}

// Handle passes the record on unless it repeats.
func (h *repeats) Handle(ctx context.Context, r slog.Record) error {
	var cause strings.Builder
	cause.WriteString(r.Message + h.own)
	ended := false
	r.Attrs(func(a slog.Attr) bool {
		ended = ended || a.Key == "outage"
		cause.WriteString(identity(a))
		return true
	})
	if r.Level < slog.LevelWarn {
		if ended {
			h.seen.forget()
		}
		return h.Handler.Handle(ctx, r)
	}
	left, pass := h.seen.admit(cause.String(), r.Time)
	if !pass {
		return nil
	}
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeats", left))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is that of the handler behind it.
func (h *repeats) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := &repeats{Handler: h.Handler.WithAttrs(attrs), own: h.own, seen: h.seen}
	for _, a := range attrs {
		next.own += identity(a)
	}
	return next
}

// WithGroup is that of the handler behind it.
func (h *repeats) WithGroup(name string) slog.Handler {
	return &repeats{Handler: h.Handler.WithGroup(name), own: h.own + "\x00" + name, seen: h.seen}
}

// localPort is the port that the system chose for a connection: another one each time.
var localPort = regexp.MustCompile(`:\d+->`)

// identity is what of an attribute tells one cause from another. How long to wait and how
// long something took do not.
func identity(a slog.Attr) string {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindDuration {
		return ""
	}
	return "\x00" + a.Key + "\x00" + localPort.ReplaceAllString(v.String(), "->")
}

// seen are the warnings that were logged lately.
type seen struct {
	mu  sync.Mutex
	all map[string]*repeated
}

// repeated is one of them.
type repeated struct {
	logged, last time.Time
	step         int // index in repeatAfter of what has to pass
	left         int // out, since it was logged
}

// admit reports whether a warning is to be logged, and how many were left out before it.
func (s *seen) admit(cause string, now time.Time) (left int, pass bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.all[cause]
	if w == nil {
		if len(s.all) >= maxRepeats {
			clear(s.all)
		}
		s.all[cause] = &repeated{logged: now, last: now}
		return 0, true
	}
	away := now.Sub(w.last)
	w.last = now
	switch {
	case away >= forgottenAfter:
		w.step = 0
	case now.Sub(w.logged) < repeatAfter[w.step]:
		w.left++
		return 0, false
	default:
		w.step = min(w.step+1, len(repeatAfter)-1)
	}
	left, w.left, w.logged = w.left, 0, now
	return left, true
}

// forget makes the next warning of each cause the first one.
func (s *seen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.all)
}
