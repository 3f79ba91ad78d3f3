package run

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// logging runs do in a bubble, with a log that leaves repeats out, and returns its lines
// with the time since the start in front.
func logging(t *testing.T, do func(*slog.Logger)) []string {
	t.Helper()
	var w bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		begin := time.Now()
		do(slog.New(newRepeats(slog.NewTextHandler(&w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Duration("at", a.Value.Time().Sub(begin))
			}
			return a
		}}))))
	})
	return strings.Split(strings.TrimSpace(w.String()), "\n")
}

func compareLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// An outage of half an hour is a handful of lines, each with a count.
func TestRepeatsBackOff(t *testing.T) {
	t.Parallel()
	got := logging(t, func(log *slog.Logger) {
		for range 900 {
			log.Warn("cannot reach NATS", "err", errors.New("refused"), "wait", 2*time.Second)
			time.Sleep(2 * time.Second)
		}
		log.Info("connected again", "outage", 30*time.Minute)
		log.Warn("cannot reach NATS", "err", errors.New("refused"))
	})
	compareLines(t, got,
		`at=0s level=WARN msg="cannot reach NATS" err=refused wait=2s`,
		`at=1m0s level=WARN msg="cannot reach NATS" err=refused wait=2s repeats=29`,
		`at=6m0s level=WARN msg="cannot reach NATS" err=refused wait=2s repeats=149`,
		`at=21m0s level=WARN msg="cannot reach NATS" err=refused wait=2s repeats=449`,
		`at=30m0s level=INFO msg="connected again" outage=30m0s`,
		`at=30m0s level=WARN msg="cannot reach NATS" err=refused`,
	)
}

// Another cause, another lane and another order are other warnings. Another wait, and
// another local port, are not.
func TestRepeatsAreOfOneCause(t *testing.T) {
	t.Parallel()
	got := logging(t, func(log *slog.Logger) {
		log.Warn("fetching", "lane", "issue", "err", errors.New("read 1.2.3.4:99->5.6.7.8:4222: timeout"), "wait", time.Second)
		log.Warn("fetching", "lane", "issue", "err", errors.New("read 1.2.3.4:77->5.6.7.8:4222: timeout"), "wait", 2*time.Second)
		log.Warn("fetching", "lane", "issue", "err", errors.New("no stream"))
		log.Warn("fetching", "lane", "poll", "err", errors.New("no stream"))
		log.With("lane", "poll").Warn("fetching")
		log.With("lane", "issue").Warn("fetching")
		log.With("lane", "issue").Error("fetching")
		log.WithGroup("g").Warn("fetching")
		log.Info("works")
		log.Info("works")
	})
	compareLines(t, got,
		`at=0s level=WARN msg=fetching lane=issue err="read 1.2.3.4:99->5.6.7.8:4222: timeout" wait=1s`,
		`at=0s level=WARN msg=fetching lane=issue err="no stream"`,
		`at=0s level=WARN msg=fetching lane=poll err="no stream"`,
		`at=0s level=WARN msg=fetching lane=poll`,
		`at=0s level=WARN msg=fetching lane=issue`,
		`at=0s level=WARN msg=fetching`,
		`at=0s level=INFO msg=works`,
		`at=0s level=INFO msg=works`,
	)
}

// A warning that was away for a while is logged at once, with the count that was not.
func TestRepeatsComeBack(t *testing.T) {
	t.Parallel()
	got := logging(t, func(log *slog.Logger) {
		log.Warn("slow")
		log.Warn("slow")
		time.Sleep(forgottenAfter)
		log.Warn("slow")
		time.Sleep(time.Minute)
		log.Warn("slow")
	})
	compareLines(t, got, `at=0s level=WARN msg=slow`, `at=2m0s level=WARN msg=slow repeats=1`, `at=3m0s level=WARN msg=slow`)
}

// What is remembered has a bound.
func TestRepeatsAreBounded(t *testing.T) {
	t.Parallel()
	s := &seen{all: map[string]*repeated{}}
	for i := range 3 * maxRepeats {
		if _, pass := s.admit(fmt.Sprint(i), time.Now()); !pass {
			t.Fatalf("the first warning of cause %d is left out", i)
		}
	}
	if len(s.all) > maxRepeats {
		t.Errorf("%d causes are remembered, want at most %d", len(s.all), maxRepeats)
	}
}
