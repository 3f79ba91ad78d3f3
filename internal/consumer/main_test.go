package consumer_test

import (
	"flag"
	"os"
	"testing"
)

// These tests mostly wait: for leases, pauses and deadlines.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8") // it cannot fail for a number
	}
	os.Exit(m.Run())
}
