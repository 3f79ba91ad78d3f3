package run

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// newLog is the log as configured: one line an event with fixed keys, fewer where a warning
// repeats. No CSR, certificate,
// key or password is ever among their values. Values that are not valid give the default.
func newLog(cfg config.Log, w io.Writer, scrub *config.Scrubber) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { return readable(a, scrub) }}
	if cfg.Format == "text" || cfg.Format != "json" && terminal.Is(w) {
		return slog.New(newRepeats(slog.NewTextHandler(w, opts)))
	}
	return slog.New(newRepeats(slog.NewJSONHandler(w, opts)))
}

// readable writes durations as 1m30s, where JSON would have nanoseconds, and takes secrets
// out of errors.
func readable(a slog.Attr, scrub *config.Scrubber) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindDuration:
		a.Value = slog.StringValue(a.Value.Duration().String())
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(scrub.Scrub(err.Error()))
		}
	}
	return a
}

// fatal logs what ended the program, with the likely fix, and returns its exit code.
func fatal(log *slog.Logger, err error) error {
	if _, ok := errors.AsType[usage.Code](err); ok || err == nil {
		return err
	}
	text := err
	if errors.Is(err, context.Canceled) {
		text = errors.New("interrupted")
	}
	code := usage.ExitCode(err)
	hint := usage.Hint(err)
	switch {
	case hint != "":
	case code == usage.Wrong:
		hint = "entrust-worker config shows every value and where it came from"
	default:
		hint = "entrust-worker config shows the configuration, entrust-worker check tries it"
	}
	log.Error("fatal error", "err", errors.New(strings.ReplaceAll(text.Error(), "\n", "; ")), "hint", hint)
	return usage.Code(code)
}
