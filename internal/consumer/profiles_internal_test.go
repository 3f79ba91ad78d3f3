package consumer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// A description is read once an hour, and again before it refuses an enrollment, at most once a
// minute. A description that cannot be read refuses nothing, and is read again after a minute.
func TestProfilesAreReadNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads, needs, broken := 0, "owner", error(nil)
		k := &knownProfiles{within: time.Second, log: slog.New(slog.DiscardHandler), read: func(context.Context, string, string) (gateway.Profile, error) {
			reads++
			return gateway.Profile{RequestedProperties: []gateway.Requirement{{Name: needs, Required: true}}}, broken
		}}
		for _, step := range []struct {
			name    string
			after   time.Duration
			change  func()
			given   map[string]any
			refused bool
			reads   int // in total
		}{
			{name: "all is given", given: map[string]any{"owner": "a"}, reads: 1},
			{name: "still known", after: 59 * time.Minute, given: map[string]any{"owner": "a"}, reads: 1},
			{name: "read again before the refusal", refused: true, reads: 2},
			{name: "just read", after: 30 * time.Second, refused: true, reads: 2},
			{name: "not required any more", after: 2 * time.Minute, change: func() { needs = "mail" }, given: map[string]any{"mail": "b"}, reads: 3},
			{name: "too old", after: 61 * time.Minute, given: map[string]any{"mail": "b"}, reads: 4},
			{name: "cannot be read", after: 61 * time.Minute, change: func() { broken = errors.New("away") }, reads: 5},
			{name: "not asked at once again", after: time.Second, reads: 5},
			{name: "asked again", after: 2 * time.Minute, change: func() { broken = nil }, refused: true, reads: 6},
		} {
			time.Sleep(step.after)
			if step.change != nil {
				step.change()
			}
			err := k.missing(t.Context(), "ca", "p", step.given)
			if (err != nil) != step.refused || reads != step.reads {
				t.Errorf("%s: %v after %d reads, want refused %v after %d", step.name, err, reads, step.refused, step.reads)
			}
		}
		if err := k.missing(t.Context(), "ca", "", nil); err != nil || reads != 6 {
			t.Errorf("without a profile: %v", err)
		}
	})
}
