package status

import (
	"testing"
	"testing/synctest"
	"time"
)

// A question whose reply subject has a meaning of its own is not answered.
func TestAnswerable(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]bool{
		"_INBOX.abc.1": true, "_INBOX_shop.abc": true, "_R_.abc.def": true,
		"": false, "entrust.result.web.order-1": false, "$KV.ENTRUST_ORDERS.web.order-1": false, "entrust.due.poll.web.order-1": false,
		"$JS.API.STREAM.PURGE.ENTRUST_PARKED": false, "$JS.ACK.ENTRUST_REQUESTS.worker-issue.1.1.1.1.1": false,
	} {
		if got := answerable(reply); got != want {
			t.Errorf("a reply to %q: answered %v, want %v", reply, got, want)
		}
	}
}

func TestSemantic(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3": "1.2.3", "v1.3.0-rc.1+dirty": "1.3.0", "v0.0.0-20261129110357-abcdef012345": "0.0.0",
		"": "0.0.0", "devel": "0.0.0", "devel-abcdef012345+changed": "0.0.0", "01.2.3": "0.0.0",
	} {
		if got := semantic(version); got != want {
			t.Errorf("version %q is announced as %q, want %q", version, got, want)
		}
	}
}

// The bound applies to each producer separately, and starts at zero each second.
func TestAllowance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := allowance{begun: time.Now()}
		for i := range maxQuestions {
			if !a.takes("shop") {
				t.Fatalf("question %d is not answered", i+1)
			}
		}
		if a.takes("shop") {
			t.Error("one more is answered")
		}
		if !a.takes("web") {
			t.Error("another producer's first is not answered")
		}
		time.Sleep(time.Second)
		if !a.takes("shop") {
			t.Error("the next second's first is not answered")
		}
	})
}
