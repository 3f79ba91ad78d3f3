package usage

import (
	"testing"
	"time"
)

func TestSpanFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "2w": 336 * time.Hour, "0.5d": 12 * time.Hour, "0": 0,
	} {
		var s Span
		if err := s.Set(text); err != nil || time.Duration(s) != want {
			t.Errorf("%s: got %v, %v; want %v", text, time.Duration(s), err, want)
		}
	}
	for _, text := range []string{"", "d", "-1h", "-1d", "soon", "1y", "99999999d", "NaNd", "infw"} {
		var s Span
		if err := s.Set(text); err == nil {
			t.Errorf("%q was taken as %v", text, time.Duration(s))
		}
	}
}
