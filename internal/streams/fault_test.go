package streams

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// IsRefused distinguishes messages that a real server refuses for ever from those that an
// operator can make possible.
func TestIsRefused(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t).JetStream(t)
	ctx := testContext(t)
	large := func(header, body int) *nats.Msg {
		m := nats.NewMsg("s.a")
		if header > 0 {
			m.Header.Set("X-Large", strings.Repeat("x", header))
		}
		m.Data = bytes.Repeat([]byte("x"), body)
		return m
	}
	for name, row := range map[string]struct {
		change  func(*jetstream.StreamConfig)
		msg     *nats.Msg
		opts    []jetstream.PublishOpt
		refused bool
	}{
		"larger than max_payload":         {msg: large(0, 1<<20+1), refused: true},
		"larger with its headers":         {msg: large(100, 1<<20-50), refused: true},
		"headers above 64 KiB":            {msg: large(1<<16, 0), refused: true},
		"larger than the stream allows":   {change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 }, msg: large(0, 200), refused: true},
		"a schedule that is no time":      {change: func(c *jetstream.StreamConfig) { c.AllowMsgSchedules, c.AllowRollup = true, true }, msg: &nats.Msg{Subject: "s.a", Header: nats.Header{"Nats-Schedule": {"@at never"}, "Nats-Schedule-Target": {"s.b"}}}, refused: true},
		"a full stream":                   {change: func(c *jetstream.StreamConfig) { c.Discard, c.MaxBytes = jetstream.DiscardNew, 50 }, msg: large(0, 100)},
		"another stream":                  {msg: large(0, 1), opts: []jetstream.PublishOpt{jetstream.WithExpectStream("OTHER")}},
		"no stream":                       {msg: &nats.Msg{Subject: "elsewhere"}},
		"another sequence":                {msg: large(0, 1), opts: []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(7)}},
		"a schedule, where there is none": {msg: &nats.Msg{Subject: "s.a", Header: nats.Header{"Nats-Schedule": {"@at 2030-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"s.b"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			// A server deletes a stream's files later, and may not yet create one of the same
			// name.
			cfg := jetstream.StreamConfig{Name: strings.NewReplacer(" ", "_", ",", "").Replace(name), Subjects: []string{"s.>"}, MaxMsgSize: -1}
			if row.change != nil {
				row.change(&cfg)
			}
			if _, err := js.CreateStream(ctx, cfg); err != nil {
				t.Fatal(err)
			}
			_, err := js.PublishMsg(ctx, row.msg, append(row.opts, jetstream.WithRetryAttempts(0))...)
			if err == nil || IsRefused(err) != row.refused {
				t.Errorf("%v: refused for good is %v, want %v", err, IsRefused(err), row.refused)
			}
			if err := js.DeleteStream(ctx, cfg.Name); err != nil {
				t.Fatal(err)
			}
		})
	}
}
