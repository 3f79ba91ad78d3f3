package pollsched_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/pollsched"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*pollsched.Schedule)
		want   []string // parts of the message; none: valid
	}{
		{"default", func(*pollsched.Schedule) {}, nil},
		{"constant wait", func(s *pollsched.Schedule) { s.First, s.Factor = s.Max, 1 }, nil},
		{"no jitter", func(s *pollsched.Schedule) { s.Jitter = 0 }, nil},
		{"Retry-After ignored", func(s *pollsched.Schedule) { s.RetryAfterMax = 0 }, nil},
		{"zero value", func(s *pollsched.Schedule) { *s = pollsched.Schedule{} }, []string{"First", "0s !>= 1ms", "Factor", "0 !>= 1"}},
		{"first without its unit", func(s *pollsched.Schedule) { s.First = 5 }, []string{"First", "5ns !>= 1ms"}},
		{"first negative", func(s *pollsched.Schedule) { s.First = -time.Second }, []string{"First", "-1s !>= 1ms"}},
		{"ceiling below first", func(s *pollsched.Schedule) { s.Max = time.Second }, []string{"Max must not be below First", "1s !>= 5s"}},
		{"shrinking", func(s *pollsched.Schedule) { s.Factor = 0.5 }, []string{"Factor", "0.5 !>= 1"}},
		{"factor no number", func(s *pollsched.Schedule) { s.Factor = math.NaN() }, []string{"Factor", "NaN !>= 1"}},
		{"factor infinite", func(s *pollsched.Schedule) { s.Factor = math.Inf(1) }, []string{"Factor", "+Inf"}},
		{"jitter of the whole wait", func(s *pollsched.Schedule) { s.Jitter = 1 }, []string{"Jitter", "1 not in [0, 1)"}},
		{"jitter in percent", func(s *pollsched.Schedule) { s.Jitter = 20 }, []string{"Jitter", "20 not in [0, 1)"}},
		{"jitter negative", func(s *pollsched.Schedule) { s.Jitter = -0.2 }, []string{"Jitter", "-0.2 not in [0, 1)"}},
		{"jitter no number", func(s *pollsched.Schedule) { s.Jitter = math.NaN() }, []string{"Jitter", "NaN"}},
		{"cap negative", func(s *pollsched.Schedule) { s.RetryAfterMax = -1 }, []string{"RetryAfterMax", "-1ns !>= 0s"}},
		{"cap below the ceiling", func(s *pollsched.Schedule) { s.RetryAfterMax = time.Minute }, []string{"RetryAfterMax must not be below Max", "1m0s !>= 5m0s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := pollsched.Default()
			tc.change(&s)
			err := s.Validate()
			if len(tc.want) == 0 {
				if err != nil {
					t.Fatalf("Validate() = %v, want nil", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("Validate() = nil, want one with %q", tc.want)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Validate() = %q, lacks %q", err, part)
				}
			}
		})
	}
}
