package consumer

import (
	"os"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/order"
)

// The crash table of the package comment has a row for each failpoint, in the order of
// the steps, and no other.
func TestCrashTable(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(doc), "//\tcrashed at")
	table, _, _ = strings.Cut(table, "//\n")
	if !found {
		t.Fatal("doc.go has no crash table")
	}
	var got []string
	for _, line := range strings.Split(table, "\n")[1:] {
		if row, ok := strings.CutPrefix(line, "//\t"); ok && !strings.HasPrefix(row, " ") {
			name, _, _ := strings.Cut(row, " ")
			got = append(got, name)
		}
	}
	var want []string
	for _, step := range order.Steps() {
		if step == order.StepSettle {
			want = append(want, "call.before", "call.after")
		}
		want = append(want, string(step)+".before", string(step)+".after")
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		t.Errorf("the rows are\n%s\nwant\n%s", g, w)
	}
}
