// Package usage is how verbs are called: their arguments and flags, the errors for a wrong
// call, and the exit codes.
package usage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes of every verb.
const (
	OK     = 0
	Failed = 1 // it was tried, and failed
	Wrong  = 2 // wrong flags, arguments or configuration; nothing was tried
)

// Error is a mistake on the command line or in the configuration.
type Error struct{ err error }

func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the mistake.
func (e *Error) Unwrap() error { return e.err }

// Errorf is a mistake with a text.
func Errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }

// Wrap makes a mistake of an error; nil stays nil.
func Wrap(err error) error {
	if err == nil {
		return nil
	}
	return &Error{err}
}

// hinted is an error with its likely fix.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// WithHint adds the likely fix to an error; nil stays nil.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// Hint is the likely fix of an error, "" for none.
func Hint(err error) string {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.hint
	}
	return ""
}

// Code ends the program with a code after everything was said already.
type Code int

func (c Code) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// ExitCode is the exit code for what a verb returned.
func ExitCode(err error) int {
	if code, ok := errors.AsType[Code](err); ok {
		return int(code)
	}
	if err == nil {
		return OK
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return Wrong
	}
	return Failed
}

// Report writes an error for people, a line for each that is joined in it and one for
// the hint, and returns the exit code. scrub takes secrets out of the text.
func Report(err error, w io.Writer, scrub func(string) string) int {
	if _, ok := errors.AsType[Code](err); ok || err == nil {
		return ExitCode(err)
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	for line := range strings.SplitSeq(scrub(err.Error()), "\n") {
		fmt.Fprintf(w, "error: %s\n", line)
	}
	if hint := Hint(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", scrub(hint))
	}
	return ExitCode(err)
}
