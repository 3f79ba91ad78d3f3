package pollsched

import (
	"testing"
	"time"
)

// PollsIn counts the polls of the exact curve: 5 s, 15 s, 45 s, 2 m 15 s, then every 5 m.
func TestPollsIn(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]int{
		-time.Hour: 0, 0: 0, 5*time.Second - 1: 0, 5 * time.Second: 1, 20 * time.Second: 2, 65 * time.Second: 3,
		200*time.Second - 1: 3, 200 * time.Second: 4, 500*time.Second - 1: 4, 500 * time.Second: 5, 24 * time.Hour: 291,
	} {
		if got := Default().PollsIn(age); got != want {
			t.Errorf("%d polls in %s, want %d", got, age, want)
		}
	}
	if n := (Schedule{}).PollsIn(time.Hour); n != 0 {
		t.Errorf("the zero schedule polls %d times", n)
	}
}
