package certctl

import (
	"os"
	"strings"
	"testing"
)

var _ Connector = Adapter{}

// The page contains the adapter that is compiled and tested here.
func TestPageShowsTheAdapter(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("adapter.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/certctl.md")
	if err != nil {
		t.Fatal(err)
	}
	_, adapter, ok := strings.Cut(string(source), "// Adapter is")
	if !ok || !strings.Contains(string(page), "```go\n// Adapter is"+adapter+"```\n") {
		t.Error("docs/certctl.md does not show the adapter of integration/certctl/adapter.go")
	}
}
