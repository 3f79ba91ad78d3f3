package consumer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// idle is a gateway that nobody asks.
type idle struct{ Gateway }

func (idle) Probe(context.Context) error { return nil }

// fleetOf makes workers that are not run, on one bus.
func fleetOf(t *testing.T, n int) ([]*Worker, jetstream.KeyValue) {
	t.Helper()
	js := testbed.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	layout.RequestsMaxBytes = 1 << 20
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	var all []*Worker
	for range n {
		w, err := New(Config{Layout: layout, CAID: "ca-1"}, js, idle{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	control, err := js.KeyValue(t.Context(), layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	return all, control
}

// wantDuty takes the duty and checks whether it was given.
func wantDuty(t *testing.T, w *Worker, hold time.Duration, want bool) {
	t.Helper()
	mine, wait, err := w.duty.take(t.Context(), hold)
	if err != nil || mine != want || mine == (wait > 0) {
		t.Errorf("taking the duty: %v, to wait for %s, %v; want %v", mine, wait, err, want)
	}
}

func TestDutyIsOneWorkers(t *testing.T) {
	t.Parallel()
	ws, control := fleetOf(t, 2)
	a, b := ws[0], ws[1]
	wantDuty(t, a, time.Hour, true)
	wantDuty(t, b, time.Hour, false)
	wantDuty(t, a, time.Hour, true)
	if err := b.duty.leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantDuty(t, b, time.Hour, false) // what is not one's own cannot be given back
	if err := a.duty.leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantDuty(t, b, time.Nanosecond, true)
	wantDuty(t, a, time.Hour, true) // b's is over
	if _, err := control.PutString(t.Context(), dutyKey, time.Now().AddDate(0, 0, 1).Format(time.RFC3339Nano)); err != nil {
		t.Fatal(err)
	}
	wantDuty(t, b, time.Hour, true) // what no worker wrote
}

// The time that counts is the server's, at which the lease was stored; one that is
// further off than the lease is long binds nobody.
func TestDutyOfAnotherClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := &duty{id: "mine"}
	for name, tc := range map[string]struct {
		stored time.Time
		text   string
		want   time.Duration
	}{
		"just stored":               {now, "5m0s other", 5 * time.Minute},
		"half over":                 {now.Add(-2 * time.Minute), "5m0s other", 3 * time.Minute},
		"over":                      {now.Add(-time.Hour), "5m0s other", 0},
		"our clock is a bit behind": {now.Add(time.Minute), "5m0s other", 6 * time.Minute},
		"our clock is a day behind": {now.AddDate(0, 0, 1), "5m0s other", 0},
		"mine":                      {now, "5m0s mine", 0},
		"given back":                {now, "0s other", 0},
		"no lease":                  {now, "rubbish", 0},
		"deleted by hand":           {now, "", 0},
	} {
		if got := d.others(&streams.Message{Time: tc.stored, Data: []byte(tc.text)}, now); got != tc.want {
			t.Errorf("%s: to wait for %s, want %s", name, got, tc.want)
		}
	}
}

// A look ends when somebody else took the duty meanwhile, and when it cannot be
// renewed until its end.
func TestDutyLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testing.T, *Worker, jetstream.KeyValue){
		"taken": func(t *testing.T, _ *Worker, control jetstream.KeyValue) {
			if _, err := control.PutString(t.Context(), dutyKey, "1h0m0s other"); err != nil {
				t.Fatal(err)
			}
		},
		"no answer": func(_ *testing.T, w *Worker, _ jetstream.KeyValue) { w.nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws, control := fleetOf(t, 1)
			wantDuty(t, ws[0], time.Hour, true)
			look, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			lose(t, ws[0], control)
			ws[0].duty.keep(look, 50*time.Millisecond, stop) // returns, or the test never ends
			if err := context.Cause(look); !errors.Is(err, errDutyLost) {
				t.Errorf("the look was ended by %v", err)
			}
		})
	}
}

// While it is renewed, the duty outlasts any number of its own lengths.
func TestDutyIsKept(t *testing.T) {
	t.Parallel()
	ws, control := fleetOf(t, 1)
	const hold = 20 * time.Second // nothing depends on a slow machine
	wantDuty(t, ws[0], hold, true)
	first, err := control.Get(t.Context(), dutyKey)
	if err != nil {
		t.Fatal(err)
	}
	look, stop := context.WithCancelCause(t.Context())
	kept := make(chan struct{})
	go func() { defer close(kept); ws[0].duty.keep(look, hold/100, stop) }()
	for {
		now, err := control.Get(t.Context(), dutyKey)
		if err != nil {
			t.Fatal(err)
		}
		if now.Revision() > first.Revision()+2 {
			break
		}
	}
	stop(nil)
	<-kept
	if err := context.Cause(look); !errors.Is(err, context.Canceled) {
		t.Errorf("the look was ended by %v", err)
	}
}

// Two workers, one look: the second finds the duty taken, and comes when it is over.
func TestOneLook(t *testing.T) {
	t.Parallel()
	ws, control := fleetOf(t, 2)
	looks := func() uint64 {
		e, err := control.Get(t.Context(), oldestKey) // written at the end of each
		if err != nil {
			t.Fatal(err)
		}
		return e.Revision()
	}
	if pause := ws[0].turn(t.Context()); pause != ws[0].cfg.WatchdogEvery {
		t.Errorf("a pause of %s after a look, want %s", pause, ws[0].cfg.WatchdogEvery)
	}
	first := looks()
	every := ws[1].cfg.WatchdogEvery
	if pause := ws[1].turn(t.Context()); pause < every || pause > lasting(every)+every/10+1 {
		t.Errorf("the second worker waits for %s", pause)
	}
	if looks() != first {
		t.Error("both workers looked")
	}
	if err := ws[0].duty.leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	ws[1].turn(t.Context())
	if looks() == first {
		t.Error("nobody looked after the first worker had left")
	}
}

// A look that fails is made again soon.
func TestLookAgainAfterTrouble(t *testing.T) {
	t.Parallel()
	ws, _ := fleetOf(t, 1)
	w := ws[0]
	if err := w.js.DeleteConsumer(t.Context(), w.cfg.Layout.Parked, streams.ConsumerDue); err != nil {
		t.Fatal(err)
	}
	if pause := w.turn(t.Context()); pause != troubleRest {
		t.Errorf("a pause of %s after a look that failed, want %s", pause, troubleRest)
	}
	w.nc.Close()
	if pause := w.turn(t.Context()); pause != troubleRest {
		t.Errorf("a pause of %s after a lease that failed, want %s", pause, troubleRest)
	}
}
