package edges

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	namedTest = regexp.MustCompile("`(Test[A-Z]\\w*)`")
)

// A page must not name a test that does not exist.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	const root = "../.."
	exist := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(source, -1) {
			exist[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, root+"/README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range namedTest.FindAllSubmatch(text, -1) {
			if !exist[string(m[1])] {
				t.Errorf("%s names %s, which is no test", page, m[1])
			}
		}
	}
}

// Each promise has a row in both tables, and tests in the second.
func TestPromisesNameTheirTests(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		var rows []string
		for line := range strings.Lines(string(page)) {
			if strings.HasPrefix(line, fmt.Sprintf("| I%d |", n+1)) {
				rows = append(rows, line)
			}
		}
		if len(rows) != 2 || !namedTest.MatchString(rows[1]) {
			t.Errorf("I%d has %d rows, want its promise and the tests that hold it", n+1, len(rows))
		}
	}
}
