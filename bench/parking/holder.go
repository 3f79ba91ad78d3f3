package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/stats"
)

// headerDue is the due time of a baseline's order.
const headerDue = "Entrust-Due"

// waiter is the client of a baseline. It holds its messages until each order is due, and
// counts. It is minimal: it does nothing with a due order.
type waiter struct {
	mu    sync.Mutex
	held  map[string]bool
	done  map[string]bool
	late  stats.Spread
	early int
	worst time.Duration // largest earliness
}

// hold is the process of a baseline: it answers each line on standard input with its
// status.
func hold(way, url string) error {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	cons, err := js.Consumer(context.Background(), baselineStream, baselineConsumer)
	if err != nil {
		return err
	}
	w := &waiter{held: map[string]bool{}, done: map[string]bool{}}
	handle := w.sleep
	if way == naking {
		handle = w.nak
	}
	run, err := cons.Consume(handle, jetstream.PullMaxMessages(1000), jetstream.PullHeartbeat(time.Second), jetstream.PullExpiry(5*time.Second))
	if err != nil {
		return err
	}
	defer run.Stop()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := json.NewEncoder(os.Stdout).Encode(w.status()); err != nil {
			return err
		}
	}
	return nil
}

func (w *waiter) status() status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return status{
		Held: len(w.held), Done: len(w.done), Early: w.early, Worst: w.worst, Goroutines: runtime.NumGoroutine(),
		P50: w.late.At(0.5), P99: w.late.At(0.99), Max: w.late.At(1),
	}
}

// sleep keeps a decoded order in memory, in a goroutine of its own that sleeps until the
// order is due.
func (w *waiter) sleep(m jetstream.Msg) {
	due, err := time.Parse(time.RFC3339Nano, m.Headers().Get(headerDue))
	if err != nil {
		complain(err)
		return
	}
	order, err := entrustbus.DecodeRequest(entrustbus.KindIssue, entrustbus.EncodingMsgpack, m.Data())
	if err != nil {
		complain(err)
		return
	}
	w.hold(m)
	go func() {
		ctx, cancel := context.WithDeadline(context.Background(), due.Add(24*time.Hour))
		defer cancel()
		if testbed.Sleep(ctx, time.Until(due)) != nil {
			return
		}
		w.wake(m, due)
		runtime.KeepAlive(order)
		if err := m.Ack(); err != nil {
			complain(err)
		}
	}()
}

// nak hands an order back until it is due.
func (w *waiter) nak(m jetstream.Msg) {
	due, err := time.Parse(time.RFC3339Nano, m.Headers().Get(headerDue))
	if err != nil {
		complain(err)
		return
	}
	w.mu.Lock()
	first := !w.held[m.Subject()]
	w.mu.Unlock()
	wait := time.Until(due)
	if !first {
		w.wake(m, due)
		if wait <= 0 {
			if err := m.Ack(); err != nil {
				complain(err)
			}
			return
		}
	}
	if err := m.NakWithDelay(max(wait, time.Millisecond)); err != nil {
		complain(err)
	}
	w.hold(m)
}

func (w *waiter) hold(m jetstream.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[m.Subject()] = true
}

// wake records that an order woke up.
func (w *waiter) wake(m jetstream.Msg, due time.Time) {
	late := time.Since(due)
	w.mu.Lock()
	defer w.mu.Unlock()
	if late < 0 {
		w.early++
		w.worst = max(w.worst, -late)
		return
	}
	if !w.done[m.Subject()] {
		w.done[m.Subject()] = true
		w.late.Add(late)
	}
}

func complain(err error) { fmt.Fprintln(os.Stderr, "baseline:", err) }
