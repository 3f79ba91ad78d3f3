package control

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func mustJetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestPauseLeft(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, value string
		age, want   time.Duration
	}{
		{"just stored", `{"duration":"30s"}`, 0, 30 * time.Second},
		{"half over", `{"duration":"30s"}`, 20 * time.Second, 10 * time.Second},
		{"over", `{"duration":"30s"}`, time.Hour, 0},
		{"from a worker that believes anything", `{"duration":"876000h"}`, 0, MaxPause},
		{"the same, later", `{"duration":"876000h"}`, MaxPause, 0},
		{"an instant, as earlier versions wrote it", `2061-01-01T00:00:00Z`, 0, 0},
		{"negative", `{"duration":"-5s"}`, 0, 0},
		{"rubbish", `{"duration":"soon"}`, 0, 0},
		{"empty", ``, 0, 0},
	} {
		if got := pauseLeft([]byte(tc.value), tc.age); got != tc.want {
			t.Errorf("%s: %s left, want %s", tc.name, got, tc.want)
		}
	}
	if got := pauseLeft(nil, 0); got != 0 {
		t.Errorf("a removed pause has %s left", got)
	}
}

// A pause reaches the other workers, can only be extended, and ends when its key is
// deleted.
func TestPauseIsTheFleets(t *testing.T) {
	t.Parallel()
	server, kv := newBus(t)
	a, b := worker(server.JetStream(t), "a"), worker(server.JetStream(t), "b")
	var seen news
	run(t, b, seen.handlers())
	stored := func() uint64 {
		e, err := kv.Get(t.Context(), a.pause)
		must(t, err)
		return e.Revision()
	}

	must(t, a.Pause(t.Context(), 20*time.Minute))
	eventually(t, "the pause at b", seen.has(func() bool { return seen.left > 19*time.Minute && seen.left <= 20*time.Minute }))
	first := stored()
	must(t, b.Pause(t.Context(), time.Minute))
	must(t, a.Pause(t.Context(), -time.Minute))
	if stored() != first {
		t.Error("a shorter pause was written over a longer one")
	}
	must(t, b.Pause(t.Context(), 1000*time.Hour))
	eventually(t, "the longer pause, capped", seen.has(func() bool { return seen.left > 59*time.Minute && seen.left <= time.Hour }))
	must(t, kv.Delete(t.Context(), a.pause))
	eventually(t, "the end of the pause", seen.has(func() bool { return seen.ended == 1 }))
	must(t, a.Pause(t.Context(), 2*time.Minute))
	eventually(t, "a pause after that", seen.has(func() bool { return seen.left <= 2*time.Minute }))
}

// Workers of another gateway do not share its pauses.
func TestPauseIsOneGateways(t *testing.T) {
	t.Parallel()
	server, _ := newBus(t)
	a := worker(server.JetStream(t), "a")
	other := Open(Config{JS: server.JetStream(t), Bucket: bucket, Worker: "o", Gateway: "https://other.example"})
	must(t, a.Pause(t.Context(), time.Minute))
	e, err := other.read(t.Context(), other.pause)
	if err != nil || e.data != nil {
		t.Errorf("the other gateway's pause is %q, %v", e.data, err)
	}
}
