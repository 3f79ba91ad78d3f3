package gateway

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := []struct {
		name   string
		status int
		value  string
		date   string
		want   time.Duration
	}{
		{"throttled without", 429, "", "", 10 * time.Second},
		{"throttled, too short", 429, "3", "", 10 * time.Second},
		{"throttled", 429, "45", "", 45 * time.Second},
		{"throttled by date", 429, at(90 * time.Second), "", 90 * time.Second},
		{"throttled, date gone by", 429, at(-time.Hour), "", 10 * time.Second},
		{"throttled, unreadable", 429, "soon", "", 10 * time.Second},
		{"capped", 429, "86400", "", time.Hour},
		{"overflowing", 503, "9223372036854775807", "", time.Hour},
		{"too long for a number", 503, "99999999999999999999", "", time.Hour},
		{"too far below", 503, "-99999999999999999999", "", time.Second},
		{"unavailable without", 503, "", "", 0},
		{"unavailable", 503, "30", "", 30 * time.Second},
		{"unavailable, zero", 503, "0", "", time.Second},
		{"unavailable, negative", 503, "-5", "", time.Second},
		{"pending", 200, "120", "", 2 * time.Minute},
		{"its clock is an hour behind", 503, at(-time.Hour + time.Minute), at(-time.Hour), time.Minute},
		{"padded", 503, " 30 ", "", 30 * time.Second},
	}
	c := &Client{cfg: Config{}.withDefaults()}
	for _, tt := range tests {
		h := http.Header{}
		if tt.value != "" {
			h.Set("Retry-After", tt.value)
		}
		if tt.date != "" {
			h.Set("Date", tt.date)
		}
		if got := c.retryAfter(h, tt.status, now); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
