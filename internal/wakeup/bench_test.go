package wakeup

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Writes a wake-up and reads its due message. Read with benchstat.
func BenchmarkWakeup(b *testing.B) {
	subjects := entrustbus.Subjects{Prefix: "entrust"}
	w := &order.Wakeup{
		Key: order.Key{Producer: "shop", ID: "order-17"}, Kind: entrustbus.KindIssue, Lane: order.Lanes()[0],
		Due: time.Unix(1_800_000_000, 5), Deadline: time.Unix(1_800_086_400, 0), Polls: 3, TrackingID: "12345",
		Request: &order.Message{Subject: "entrust.request.shop.issue", Header: map[string][]string{"Content-Type": {"application/msgpack"}}, Body: make([]byte, 500)},
	}
	msg := schedule(subjects, w)
	due := subjects.Due(string(w.Lane), "shop", "order-17")
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = schedule(subjects, w)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := parse(subjects, due, msg.Header, msg.Data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
