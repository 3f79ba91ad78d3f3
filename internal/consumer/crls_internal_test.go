package consumer

import (
	"context"
	"log/slog"
	"math/big"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// A bulk gets one list for each CA, after its last revocation. A bulk that continues gets one a
// minute. At a stop, pending lists are requested at once.
func TestOneListForABulk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := map[string][]int64{}
		c := &crls{log: slog.New(slog.DiscardHandler), ask: func(_ context.Context, r gateway.Revocation) error {
			mu.Lock()
			defer mu.Unlock()
			if !r.IssueCRL {
				t.Error("asked without asking for a list")
			}
			asked[r.CAID] = append(asked[r.CAID], r.Serial.Int64())
			return nil
		}}
		want := func(ca string, serials ...int64) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := asked[ca]; len(got) != len(serials) || len(got) > 0 && got[len(got)-1] != serials[len(serials)-1] {
				t.Errorf("CA %s: lists with %v, want %v", ca, got, serials)
			}
		}
		for n := range int64(20) {
			c.add(gateway.Revocation{CAID: "a", Serial: big.NewInt(n)})
			time.Sleep(time.Second)
		}
		c.add(gateway.Revocation{CAID: "b", Serial: big.NewInt(7)})
		want("a")
		time.Sleep(4 * time.Second)
		want("a", 19)
		time.Sleep(time.Second)
		want("b", 7)
		for n := range int64(100) {
			c.add(gateway.Revocation{CAID: "a", Serial: big.NewInt(100 + n)})
			time.Sleep(700 * time.Millisecond) // none at the instant of the timer
		}
		want("a", 19, 185)
		c.requestAll(t.Context())
		want("a", 19, 185, 199)
		time.Sleep(time.Minute)
		want("a", 19, 185, 199)
	})
}
