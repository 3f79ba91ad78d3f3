package usage

import (
	"testing"
	"time"
)

func TestRateFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		perSecond float64
		text      string
	}{
		"60/min": {1, "60/min"}, "5/s": {5, "5/s"}, "1800/h": {0.5, "1800/h"}, "0": {0, "0"}, "2.5": {2.5, "2.5/s"},
	} {
		var r Rate
		if err := r.Set(text); err != nil || r.PerSecond() != want.perSecond || r.String() != want.text {
			t.Errorf("%s: got %v as %q, %v; want %v as %q", text, r.PerSecond(), r.String(), err, want.perSecond, want.text)
		}
	}
	for _, text := range []string{"", "min", "/min", "-1/s", "0/min", "5/d", "NaN", "inf/s", "5/", "1e9/s"} {
		var r Rate
		if err := r.Set(text); err == nil {
			t.Errorf("%q was taken as %v", text, r.PerSecond())
		}
	}
	r := Rate{N: 60, Per: time.Minute}
	for n, want := range map[int]time.Duration{5: 0, 10: 0, 70: time.Minute} {
		if got := r.Takes(n, 10); got != want {
			t.Errorf("%d take %v, want %v", n, got, want)
		}
	}
}
