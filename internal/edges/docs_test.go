package edges

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

var (
	packageRow = regexp.MustCompile("(?m)^\\| `([a-z/-]+)` \\|")
	importsRow = regexp.MustCompile("(?m)^\\| `((?:internal|entrustbus)[a-z/]*)` \\|[^|\n]*\\| ([a-z/, ]+) \\|$")
)

// The page for engineers lists each package below internal, and what each imports of ours.
func TestArchitectureListsPackages(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range packageRow.FindAllSubmatch(page, -1) {
		listed[string(m[1])] = true
	}
	folders, err := filepath.Glob("../../internal/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if name := "internal/" + filepath.Base(folder); !listed[name] {
			t.Errorf("docs/architecture.md has no row for %s", name)
		}
	}
	g := load(t)
	rows := importsRow.FindAllSubmatch(page, -1)
	if len(rows) < 30 {
		t.Fatalf("docs/architecture.md has %d rows with imports", len(rows))
	}
	for _, m := range rows {
		pkg, want := string(m[1]), strings.Split(string(m[2]), ", ")
		if want[0] == "none" {
			want = nil
		}
		found := map[string]bool{}
		for _, i := range g.shipped[module+"/"+pkg] {
			if own, ours := strings.CutPrefix(i, module+"/"); ours {
				found[strings.TrimPrefix(own, "internal/")] = true
			}
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
			t.Errorf("docs/architecture.md says that %s imports %q; it imports %q", pkg, want, got)
		}
	}
}
