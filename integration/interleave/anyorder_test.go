package interleave

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// story is a random sequence of events around a few orders.
type story struct {
	Dialect gatewaytest.Dialect
	Lost    string // on_lost_reply
	Never   bool   // approvals never happen
	Lives   []life
	Workers []fate
	Resent  []time.Duration // the first order again, without its message id
	Cancel  time.Duration   // of the first order; 0: never
}

// fate is the course of one worker in a story.
type fate struct {
	Begins time.Duration
	Blows  []blow
}

func (s story) String() string {
	text := fmt.Sprintf("%s, %s, never %v, resent %v, cancel %v:", s.Dialect, s.Lost, s.Never, s.Resent, s.Cancel)
	for _, l := range s.Lives {
		text += " " + l.name + ";"
	}
	for _, w := range s.Workers {
		text += fmt.Sprintf(" worker at %v %v;", w.Begins, w.Blows)
	}
	return text
}

// drawStory draws a story of up to three orders and four workers.
func drawStory(t *rapid.T) story {
	s := story{Dialect: gatewaytest.CertCtl, Lost: order.Hold}
	switch rapid.IntRange(0, 4).Draw(t, "mode") {
	case 1:
		s.Lost = order.Resubmit
	case 2:
		s.Dialect = gatewaytest.CAGW
	case 3:
		s.Dialect, s.Never = gatewaytest.CAGW, true
	}
	all := lives()
	if s.Never {
		// For other kinds of orders approval=never would be false.
		all = slices.DeleteFunc(all, func(l life) bool { return !l.atOnce })
	}
	s.Lives = rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 3, func(l life) string { return l.name }).Draw(t, "lives")
	stalls := []time.Duration{0, 0, 500 * time.Millisecond, 4 * time.Second, 20 * time.Second, 90 * time.Second}
	for range rapid.IntRange(1, 4).Draw(t, "workers") {
		w := fate{Begins: time.Duration(rapid.IntRange(0, 40).Draw(t, "begins")) * 500 * time.Millisecond}
		for range rapid.IntRange(0, 3).Draw(t, "blows") {
			w.Blows = append(w.Blows, blow{
				Step:  rapid.IntRange(1, 20).Draw(t, "step"),
				After: rapid.Bool().Draw(t, "after"),
				Stall: rapid.SampledFrom(stalls).Draw(t, "stall"),
			})
		}
		s.Workers = append(s.Workers, w)
	}
	for range rapid.IntRange(0, 2).Draw(t, "resent") {
		s.Resent = append(s.Resent, time.Duration(rapid.IntRange(0, 30).Draw(t, "resent at"))*time.Second)
	}
	if rapid.IntRange(0, 3).Draw(t, "cancelled") == 0 {
		s.Cancel = time.Duration(rapid.IntRange(1, 20).Draw(t, "cancelled at")) * 500 * time.Millisecond
	}
	return s
}

// tell plays a story and returns the findings of its oracle.
func (s story) tell(t *testing.T) (findings []string) {
	synctest.Test(t, func(t *testing.T) {
		b := blowBubble(t, gatewayConfig(s.Dialect), func(c *consumer.Config) {
			c.OnLostReply, c.ApprovalNever = s.Lost, s.Never
		})
		var orders []*oracle.Order
		for i, l := range s.Lives {
			made, err := l.begin(b, fmt.Sprintf("order-%d", i))
			if err != nil {
				findings = append(findings, err.Error())
				return
			}
			made[0].Want = append(made[0].Want, l.want)
			orders = append(orders, made...)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var all sync.WaitGroup
		over := make(chan struct{})
		for _, f := range append(s.Workers, fate{Begins: 30 * time.Second}) {
			all.Go(func() {
				time.Sleep(f.Begins)
				w := b.work(f.Blows...)
				select {
				case <-w.died:
				case <-over:
				}
				w.stop()
			})
		}
		events := append(s.resends(b, orders[0]), s.cancel(b, &orders)...)
		var told sync.WaitGroup
		for _, e := range events {
			told.Go(func() {
				time.Sleep(e.at)
				if err := e.do(ctx); err != nil {
					t.Errorf("publishing: %v", err)
				}
			})
		}
		told.Wait()
		v, err := b.site.Check(ctx, orders)
		if late := s.longestStall(); err == nil && late > 0 {
			// A stalled worker may still do harm.
			time.Sleep(late)
			v, err = b.site.Check(ctx, orders)
		}
		close(over)
		all.Wait()
		if err != nil {
			findings = append(findings, err.Error())
			return
		}
		findings = append(findings, v.Findings...)
	})
	return findings
}

// longestStall returns how long a worker may be stalled at the end.
func (s story) longestStall() (longest time.Duration) {
	for _, f := range s.Workers {
		sum := time.Duration(0)
		for _, b := range f.Blows {
			sum += b.Stall
		}
		longest = max(longest, sum)
	}
	return longest
}

// event is a producer's action during a story.
type event struct {
	at time.Duration
	do func(context.Context) error
}

func (s story) resends(b *bubble, o *oracle.Order) (all []event) {
	for _, at := range s.Resent {
		all = append(all, event{at, func(ctx context.Context) error { return b.site.Resend(ctx, o.Request) }})
	}
	return all
}

// cancel cancels the first order; the cancellation may come too early or too late.
func (s story) cancel(b *bubble, orders *[]*oracle.Order) []event {
	first := (*orders)[0]
	if k := first.Request.Kind(); s.Cancel == 0 || k != entrustbus.KindIssue && k != entrustbus.KindTrack {
		return nil
	}
	first.Want = append(first.Want, entrustbus.OutcomeCancelled)
	c := &oracle.Order{
		Request: &entrustbus.Cancel{ID: "stop", Order: first.ID()},
		Want:    []entrustbus.Outcome{entrustbus.OutcomeCancelled, entrustbus.OutcomeFailed},
	}
	*orders = append(*orders, c)
	return []event{{s.Cancel, func(ctx context.Context) error { return b.site.Submit(ctx, c) }}}
}

// For any order of deliveries, deaths, redeliveries, late answers, repetitions and
// cancellations, every order ends with one result. It is enrolled once unless the result
// says otherwise.
func TestAnyOrderOfEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt)
		if findings := s.tell(t); len(findings) > 0 {
			rt.Fatalf("%v\n%v", s, findings)
		}
	})
}

// Stories that once had findings.
func TestToldStories(t *testing.T) {
	t.Parallel()
	only := func(name string) []life {
		return slices.DeleteFunc(lives(), func(l life) bool { return l.name != name })
	}
	for name, s := range map[string]story{
		// The first result was being published while the order was submitted again. It
		// was stored first and did not declare the second submission.
		"late result beside a second submission": {
			Dialect: gatewaytest.CertCtl, Lost: order.Resubmit, Lives: only("issued at once"),
			Workers: []fate{
				{Blows: []blow{{Step: 3, Stall: 4 * time.Second}}},
				{Begins: time.Second, Blows: []blow{{Step: 4, After: true, Stall: 4 * time.Second}}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range s.tell(t) {
				t.Error(f)
			}
		})
	}
}
