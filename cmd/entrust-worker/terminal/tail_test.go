package terminal

import (
	"bytes"
	"testing"
	"time"
)

func TestTail(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		json, people bool
		want         string
	}{
		"programs": {false, false, "TIME\tWHAT\tABOUT\n2026-11-29T12:00:00Z\tfailed\tweb.a \x20\n"},
		"json":     {true, false, "\"v\"\n"},
		"people":   {false, true, at.Local().Format(time.TimeOnly) + "  failed    web.a\n"},
	} {
		var out bytes.Buffer
		tail := (&Terminal{Out: &out}).NewTail(tc.json, []string{"TIME", "WHAT", "ABOUT"}, []int{8, 0})
		tail.people = tc.people
		if err := tail.Add("v", at, "failed", "web.a\x1b\n"); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}
