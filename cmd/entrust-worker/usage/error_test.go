package usage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		code int
		text string
	}{
		{"nothing", nil, 0, ""},
		{"a failure", errors.New("it broke"), 1, "error: it broke\n"},
		{"a mistake", Errorf("wrong %s", "flag"), 2, "error: wrong flag\n"},
		{"with a hint", WithHint(errors.New("it broke"), "try %d", 2), 1, "error: it broke\nhint: try 2\n"},
		{"a wrapped mistake with a hint", fmt.Errorf("loading: %w", WithHint(Errorf("wrong"), "right")), 2, "error: loading: wrong\nhint: right\n"},
		{"many", Wrap(errors.Join(errors.New("a"), errors.New("b"))), 2, "error: a\nerror: b\n"},
		{"a code alone", Code(1), 1, ""},
		{"interrupted", fmt.Errorf("waiting: %w", context.Canceled), 1, "error: interrupted\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var w bytes.Buffer
			if code := Report(tc.err, &w, func(s string) string { return s }); code != tc.code || w.String() != tc.text {
				t.Errorf("got %d %q, want %d %q", code, w.String(), tc.code, tc.text)
			}
		})
	}
	if err := WithHint(nil, "never"); err != nil {
		t.Errorf("a hint made an error of nil: %v", err)
	}
}
