package connect

import (
	"io"
	"testing"

	"github.com/nats-io/nats.go"
)

// A verb may wait for an approval for hours.
func TestStayingOutlivesServers(t *testing.T) {
	t.Parallel()
	o := nats.GetDefaultOptions()
	for _, opt := range Staying(io.Discard) {
		if err := opt(&o); err != nil {
			t.Fatal(err)
		}
	}
	if o.MaxReconnect >= 0 || !o.IgnoreAuthErrorAbort {
		t.Errorf("a verb that waits gives up after %d reconnects", o.MaxReconnect)
	}
}
