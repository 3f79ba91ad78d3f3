package consumer_test

import (
	"flag"
	"os"
	"testing"
)

// These tests wait for leases, pauses and deadlines far more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8") // it is a number
	}
	os.Exit(m.Run())
}
