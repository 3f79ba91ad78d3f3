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

// unclear are phrases that readers stumbled over, with replacements. Code and pages must
// not contain them.
var unclear = map[string]string{
	`\bin hand\b`:           "in flight",
	`wants to know nothing`: "does not recognise",
	`nobody can be asked`:   "no terminal",
	`are well\b`:            "passed",
	`is there twice`:        "duplicate",
	`is no kind of`:         "unknown kind",
	`is no version that`:    "unsupported version",
	`is no part of a line`:  "contains a control character",
	`died of this`:          "crashed the worker",
	`a choice that nothing`: "a filter that matches nothing",
	`tells that it was it`:  "identifies it",
	`\banew\b`:              "again",
	`\bdisown`:              "reject",
	`\bbur(y|ied)\b`:        "dead-letter",
	`\bshelve`:              "defer",
	`\brescue`:              "reschedule",
	`\bwitness\b`:           "oracle",
	`\bhollow\b`:            "malformed",
}

// Replaced phrases must not come back.
func TestUnclearPhrasesStayOut(t *testing.T) {
	t.Parallel()
	var all []string
	for phrase := range unclear {
		all = append(all, phrase)
	}
	slices.Sort(all)
	any := regexp.MustCompile(`(?i)` + strings.Join(all, "|"))
	for file, text := range written(t) {
		if strings.HasSuffix(file, "phrases_test.go") {
			continue
		}
		for n, line := range strings.Split(text, "\n") {
			found := any.FindString(line)
			if found == "" {
				continue
			}
			for phrase, better := range unclear {
				if regexp.MustCompile(`(?i)^(` + phrase + `)$`).MatchString(found) {
					t.Errorf("%s:%d: %q: write %q, or what it means here", file, n+1, found, better)
				}
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
