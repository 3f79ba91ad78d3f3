package edges

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// phrase is a pattern that readers stumbled over, and its replacement.
type phrase struct {
	pattern, instead string
	// in is the beginning or the end of a path: other files may contain the phrase. If in is
	// empty, no file may.
	in string
}

// unclear are the phrases that code and pages must not contain. The search is fast for a
// pattern that begins with plain letters.
var unclear = []phrase{
	{pattern: `in hand\b`, instead: "in flight"},
	{pattern: `knows? nothing of\b`, instead: "does not recognise"},
	{pattern: `wants? nothing of\b`, instead: "does not recognise"},
	{pattern: `to know nothing\b`, instead: "does not recognise"},
	{pattern: `nobody can be asked`, instead: "no terminal"},
	{pattern: `are well\b`, instead: "passed"},
	{pattern: `is there twice`, instead: "duplicate"},
	{pattern: `is no kind of`, instead: "unknown kind"},
	{pattern: `is no version that`, instead: "unsupported version"},
	{pattern: `is no part of a line`, instead: "contains a control character"},
	{pattern: `\bdie[sd]? of (this|that|it|the|a)\b`, instead: "crashed the worker"},
	{pattern: `a choice that nothing`, instead: "a filter that matches nothing"},
	{pattern: `tells that it was it`, instead: "identifies it"},
	{pattern: `anew\b`, instead: "again"},
	{pattern: `\bmend(s|ed|ing)?\b`, instead: "fix"},
	{pattern: `tells? of\b`, instead: "report"},
	{pattern: `told of\b`, instead: "report"},
	{pattern: `who(m|so)?ever`, instead: actor},
	{pattern: `somebody`, instead: actor},
	{pattern: `anybody`, instead: actor},
	{pattern: `everybody`, instead: actor},
	{pattern: `hiccup`, instead: "outage"},
	{pattern: `whatever dies`, instead: "the name of the part that fails"},
	{pattern: `disown([^;]|$)`, instead: "reject"}, // "disown;" is the shell's
	{pattern: `bur(y|ied)\b`, instead: "dead-letter"},
	{pattern: `shelve`, instead: "defer"},
	{pattern: `set aside\b`, instead: "deferred"},
	{pattern: `rescue`, instead: "reschedule"},
	{pattern: `\b(re|dis)?arm(s|ed|ing)?\b`, instead: "schedule or cancel"},
	{pattern: `its slots?\b`, instead: "wake-up"},
	{pattern: `parked slots?\b`, instead: "wake-up"},
	{pattern: `wake-up slots?\b`, instead: "wake-up"},
	{pattern: `dut(y|ies)\b`, instead: "watchdog lease"},
	{pattern: `lethal\b`, instead: "poison"},
	{pattern: `the gate\b`, instead: "the breaker, or the gateway"},
	{pattern: `witness\b`, instead: "oracle"},
	{pattern: `\bhollow\b`, instead: "malformed"},
	{pattern: `\b(judges?|verdicts?)\b`, instead: "oracle, report, finding", in: "internal/testbed/"},
	{pattern: `\b(judges?|verdicts?)\b`, instead: "oracle, report, finding", in: "integration/"},
	{pattern: `\bnobody\b`, instead: actor, in: ".md"},
	{pattern: `[^*]\bslots?\b[^*]`, instead: "wake-up", in: ".md"},
}

const actor = "the worker, an operator, a publisher"

// Replaced phrases must not come back.
func TestUnclearPhrasesStayOut(t *testing.T) {
	t.Parallel()
	files := written(t)
	for file, text := range files {
		files[file] = strings.ToLower(text)
	}
	for _, p := range unclear {
		pattern := regexp.MustCompile(p.pattern)
		for file, text := range files {
			if strings.HasSuffix(file, "phrases_test.go") || !strings.HasPrefix(file, p.in) && !strings.HasSuffix(file, p.in) {
				continue
			}
			for _, at := range pattern.FindAllStringIndex(text, -1) {
				line := 1 + strings.Count(text[:at[0]], "\n")
				t.Errorf("%s:%d: %q: write %q, or its meaning here", file, line, text[at[0]:at[1]], p.instead)
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```")
)

// Every link in a page leads to an existing file and heading.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages := map[string]string{}
	for file, text := range written(t) {
		if strings.HasSuffix(file, ".md") {
			pages[file] = fence.ReplaceAllString(text, "")
		}
	}
	if len(pages) < 10 {
		t.Fatalf("%d pages are found", len(pages))
	}
	for page, text := range pages {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s links to %s, which is not there", page, m[1])
					continue
				}
			}
			if anchor != "" && strings.HasSuffix(target, ".md") && !slices.Contains(anchors(pages[target]), anchor) {
				t.Errorf("%s links to %s, and %s has no such heading", page, m[1], target)
			}
		}
	}
}

// anchors returns the anchors of a page's headings.
func anchors(page string) (all []string) {
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		name := strings.ToLower(strings.NewReplacer("`", "", "*", "").Replace(strings.TrimSpace(m[1])))
		name = regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(name, "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

const root = "../.."

// written returns the files that people read, by their path.
func written(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() {
			if name == "testdata" || name == "node_modules" || len(name) > 2 && name[0] == '.' && name != ".github" && name != ".ci" {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".md", ".yaml", ".conf"}, filepath.Ext(path)) {
			return nil
		}
		text, err := os.ReadFile(path)
		name, relErr := filepath.Rel(root, path)
		if err == nil {
			err = relErr
		}
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
