//go:build integration && unix

package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a fenced block of a page.
type block struct {
	language, text string
	line           int  // of the page, that of the fence
	output         bool // whether it is what the block before it prints
}

// blocksOf returns the fenced blocks of a page. One of text that follows one of sh at once, or
// after "prints:", is the output of that.
func blocksOf(page string) (all []block) {
	fence, between := -1, ""
	for n, line := range strings.Split(page, "\n") {
		language, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && fence < 0:
			follows := len(all) > 0 && all[len(all)-1].language == "sh" && (between == "" || strings.HasSuffix(between, "prints:"))
			all = append(all, block{language: language, line: n + 1, output: follows && language == "text"})
			fence = n
		case isFence:
			fence, between = -1, ""
		case fence < 0:
			between += strings.TrimSpace(line)
		default:
			all[len(all)-1].text += line + "\n"
		}
	}
	return all
}

// missingLine returns the first line of an output block that has no like among the printed
// lines; "" if all have one. More may be printed, and in another order: programs print at once.
// Of numbers, times, durations and ids only the form counts, and "…" stands for anything.
func missingLine(shown, printed string) string {
	rest := strings.Split(printed, "\n")
	for want := range strings.Lines(shown) {
		want = strings.TrimSpace(want)
		like := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(form(want)), "…", ".*") + "$")
		n := slices.IndexFunc(rest, func(l string) bool { return like.MatchString(form(l)) })
		switch {
		case want == "" || want == "…":
		case n < 0:
			return want
		default:
			rest = slices.Delete(rest, n, n+1)
		}
	}
	return ""
}

var (
	duration = regexp.MustCompile(`-?\b(\d+(\.\d+)?(ns|µs|ms|s|m|h))+\b`)
	id       = regexp.MustCompile(`\b[0-9a-fA-F]{8,}(-[0-9a-fA-F]{4,})*\b`)
	number   = regexp.MustCompile(`\d+(\.\d+)?`)
)

// form is a line without what differs from run to run.
func form(line string) string {
	line = strings.Join(strings.Fields(line), " ")
	line = strings.ReplaceAll(line, " = ", "=")               // OpenSSL 3.0 and later ones
	line = strings.ReplaceAll(line, " behind ", " ahead of ") // a clock
	line = duration.ReplaceAllString(line, "0s")
	return number.ReplaceAllString(id.ReplaceAllString(line, "#"), "0")
}

func TestMissingLine(t *testing.T) {
	t.Parallel()
	const printed = `Control     http://127.0.0.1:45123/  (approve)
200 of 220 results   1.31s
03:04:05  me.a  issued  serial 4f00d1aa90
order-17 stored at 2026-11-29T08:00:00.123Z
`
	for shown, want := range map[string]string{
		"": "",
		"Control http://127.0.0.1:8080/ (approve)\n7 of 8 results 340ms": "",
		"Control …\n…\norder-1 stored at 2026-01-01T00:00:00.5Z":         "",
		"09:09:09  me.a  issued  serial 0123456789abcdef":                "",
		"09:09:09  me.a  revoked  serial 0123456789abcdef":               "09:09:09  me.a  revoked  serial 0123456789abcdef",
		"order-1 stored at …\n7 of 8 results -340ms":                     "",
		"order-1 stored at …\norder-2 stored at …":                       "order-2 stored at …",
		"200 of 220 requests":                                            "200 of 220 requests",
	} {
		if got := missingLine(shown, printed); got != want {
			t.Errorf("%q: got %q, want %q", shown, got, want)
		}
	}
}
