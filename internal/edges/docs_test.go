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

// A page that names a test to show that something holds is wrong where there is none.
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

// Each promise has a row in the table of promises and a list of tests. The packages that a
// row of a list names have its tests: each has one of them at least, and each test is in one.
func TestPromisesNameTheirTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for n := range 10 {
		if rows := strings.Count(page, fmt.Sprintf("\n| I%d |", n+1)); rows != 1 {
			t.Errorf("I%d has %d rows in the table of promises, want 1", n+1, rows)
		}
		_, list, found := strings.Cut(page, fmt.Sprintf("\n### I%d: ", n+1))
		list, _, _ = strings.Cut(list, "\n##")
		if !found || !namedTest.MatchString(list) {
			t.Errorf("I%d has no list of the tests that hold it", n+1)
		}
		for row := range strings.Lines(list) {
			if cells := strings.Split(row, "|"); len(cells) == 5 && namedTest.MatchString(cells[2]) {
				checkPackages(t, cells[2], cells[3])
			}
		}
	}
}

var namedPackage = regexp.MustCompile("`([a-z][a-z/-]*)`")

// checkPackages compares the tests of a cell with the packages of the next one.
func checkPackages(t *testing.T, tests, packages string) {
	t.Helper()
	unused := map[string]bool{}
	found := map[string]bool{}
	for _, p := range namedPackage.FindAllStringSubmatch(packages, -1) {
		unused[p[1]] = true
		files, err := filepath.Glob("../../" + p[1] + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range testFunc.FindAllStringSubmatch(string(source), -1) {
				found[m[1]] = true
				if strings.Contains(tests, "`"+m[1]+"`") {
					delete(unused, p[1])
				}
			}
		}
	}
	for _, m := range namedTest.FindAllStringSubmatch(tests, -1) {
		if !found[m[1]] {
			t.Errorf("docs/guarantees.md: %s is in none of the packages%s", m[1], packages)
		}
	}
	for p := range unused {
		t.Errorf("docs/guarantees.md: %s has none of the tests%s", p, tests)
	}
}
