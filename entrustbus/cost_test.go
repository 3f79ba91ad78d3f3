package entrustbus_test

import (
	"runtime"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
)

// A message may cost the few thousand values it may have, and a small multiple of its own length, never of the lengths
// that it declares. Not parallel: it reads the allocations of the whole process.
func TestHostileMessagesCostLittle(t *testing.T) {
	const fixed, times = 2 << 20, 8
	for _, m := range entrustbustest.Hostile() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := receive(m)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: was taken", m.Name)
		}
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(fixed+times*len(m.Body)); got > most {
			t.Errorf("%s: %d bytes of message made %d bytes of allocations, more than %d", m.Name, len(m.Body), got, most)
		}
	}
}
