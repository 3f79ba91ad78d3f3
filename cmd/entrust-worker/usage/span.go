package usage

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a flag that takes a duration, in days and weeks too.
type Span time.Duration

// Set reads 90s, 1h30m, 12h, 7d or 2w.
func (s *Span) Set(text string) error {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if digits, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseFloat(digits, 64)
			if err != nil || !(n >= 0 && n <= 36500) { // nor NaN
				return fmt.Errorf("must be a duration such as 90s, 12h or 7d")
			}
			*s = Span(n * float64(length))
			return nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("must be a duration such as 90s, 12h or 7d")
	}
	*s = Span(d)
	return nil
}

// String is the duration, "" for none.
func (s *Span) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

// Type is what --help calls the value.
func (s *Span) Type() string { return "duration" }
