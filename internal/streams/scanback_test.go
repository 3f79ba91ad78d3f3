package streams_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// A stream with holes of every size yields the same messages backwards as forwards.
func TestScanBack(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	st, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	back := func(filter string) (got []uint64) {
		for m, err := range streams.ScanBack(t.Context(), js, "S", filter) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Sequence)
		}
		return got
	}
	if got := back(">"); got != nil {
		t.Fatalf("an empty stream has %v", got)
	}
	big := make([]byte, 100<<10)
	for n := range 1500 {
		data := []byte("x")
		if n > 300 && n < 420 {
			data = big // a window of these exceeds the limit
		}
		if _, err := js.PublishAsync(fmt.Sprintf("s.%d", n%3), data); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	for n := uint64(500); n < 1400; n++ {
		if n%450 != 0 {
			if err := st.DeleteMsg(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, filter := range []string{">", "s.1", "s.nothing"} {
		var want []uint64
		for m, err := range streams.Scan(t.Context(), js, "S", filter) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, m.Sequence)
		}
		slices.Reverse(want)
		if got := back(filter); !slices.Equal(got, want) {
			t.Errorf("%s: read %d messages, want %d:\n%v", filter, len(got), len(want), got)
		}
	}
	for m, err := range streams.ScanBack(t.Context(), js, "S", ">") {
		if err != nil || m.Sequence != 1500 {
			t.Errorf("the first is %v, %v", m, err)
		}
		break
	}
}
