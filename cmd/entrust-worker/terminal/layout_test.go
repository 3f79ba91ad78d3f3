package terminal

import (
	"bytes"
	"strings"
	"testing"
)

func TestLayoutFitsItsTerminal(t *testing.T) {
	t.Parallel()
	columns := []Column{{"ORDER", 0}, {"KIND", 1}, {"PHASE", 0}, {"TRACKING ID", 3}, {"NAMES", 2}}
	long := strings.Repeat("n", 70)
	for name, tc := range map[string]struct {
		format Format
		width  string
		cells  []string
		want   string // the columns
		most   int
	}{
		"all fit":                 {Format{name: "table"}, "80", []string{"web.a", "issue", "awaiting", "t-1", "dns:a"}, "ORDER KIND PHASE TRACKING ID NAMES", 80},
		"one does not":            {Format{name: "table"}, "40", []string{"web.a", "issue", "awaiting", "t-1", "dns:a"}, "ORDER KIND PHASE NAMES", 40},
		"only the first":          {Format{name: "table"}, "20", []string{"web.a", "issue", "awaiting", "t-1", "dns:a"}, "ORDER PHASE", 20},
		"a long name":             {Format{name: "table"}, "", []string{long, "issue", "awaiting", "t-1", "dns:a"}, "ORDER KIND PHASE", 80},
		"a long name that may go": {Format{name: "table"}, "60", []string{"web.a", "issue", "awaiting", "t-1", long}, "ORDER KIND PHASE TRACKING ID NAMES", 60},
		"too long by itself":      {Format{name: "table"}, "40", []string{long, "issue", "awaiting", "t-1", "dns:a"}, "ORDER PHASE", 40},
		"a wide terminal":         {Format{name: "table"}, "200", []string{long, "issue", "awaiting", "t-1", "dns:a"}, "ORDER KIND PHASE TRACKING ID NAMES", 200},
		"every column, whole":     {Format{wide: true}, "40", []string{long, "issue", "awaiting", "t-1", "dns:a"}, "ORDER KIND PHASE TRACKING ID NAMES", 400},
		"not a width":             {Format{name: "table"}, "x", []string{"web.a", "issue", "awaiting", "t-1", "dns:a"}, "ORDER KIND PHASE TRACKING ID NAMES", 80},
		"characters of others":    {Format{name: "table"}, "30", []string{strings.Repeat("ü", 40), "issue", "awaiting", "t-1", "dns:a"}, "ORDER PHASE", 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			l := (&Terminal{Out: &out, Environ: []string{"COLUMNS=" + tc.width}}).Layout(tc.format, columns...)
			if err := l.Add(nil, tc.cells...); err != nil {
				t.Fatal(err)
			}
			if err := l.End(); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
			if got := strings.Join(strings.Fields(lines[0]), " "); got != tc.want {
				t.Errorf("columns %q, want %q", got, tc.want)
			}
			for _, line := range lines {
				if n := len([]rune(line)); n > tc.most {
					t.Errorf("a line of %d characters, want at most %d: %q", n, tc.most, line)
				}
			}
			if tc.format.wide && !strings.Contains(out.String(), long) {
				t.Error("a cell was shortened")
			}
		})
	}
}

// Programs read every column, and cells with anything in them.
func TestLayoutAsCSV(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := (&Terminal{Out: &out}).Layout(Format{name: "csv"}, Column{"ORDER", 0}, Column{"NAMES", 9})
	for _, cells := range [][]string{{"web.a", `a,"b"` + "\nc"}, {"web.b", ""}} {
		if err := l.Add(nil, cells...); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.End(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "ORDER,NAMES\nweb.a,\"a,\"\"b\"\" c\"\nweb.b,\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFormatCheck(t *testing.T) {
	t.Parallel()
	for _, f := range []Format{{name: "xml"}, {name: "csv", json: true}} {
		if err := f.Check(); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
	f := Format{name: "json"}
	if err := f.Check(); err != nil || !f.json {
		t.Errorf("json is %+v, %v", f, err)
	}
}
