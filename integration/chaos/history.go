package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// mostHistories bounds how many orders are printed in full.
const mostHistories = 5

// histories prints what is known of the orders that have no result: where they
// are, when the server woke them, and what the workers logged of them.
func (r *run) histories(ctx context.Context, w io.Writer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	for _, name := range []string{r.site.Layout.Requests, r.site.Layout.Parked, r.site.Layout.Results, r.site.Layout.Dead, "KV_" + r.site.Layout.Orders, "KV_" + r.site.Layout.Control} {
		st, err := r.site.JS.Stream(ctx, name)
		if err != nil {
			fmt.Fprintf(w, "  %s: %v\n", name, err)
			continue
		}
		info := st.CachedInfo()
		fmt.Fprintf(w, "  %s holds %d messages up to %d; led by %s\n", name, info.State.Msgs, info.State.LastSeq, info.Cluster.Leader)
		for _, p := range info.Cluster.Replicas {
			fmt.Fprintf(w, "    %s: current %v, offline %v, lag %d, active %v\n", p.Name, p.Current, p.Offline, p.Lag, p.Active)
		}
	}
	printed := 0
	for _, o := range r.orders {
		subjects := r.site.Layout.Subjects()
		if r.last(ctx, r.site.Layout.Results, subjects.Result(oracle.Producer, o.ID())) != "nothing" || printed == mostHistories {
			continue
		}
		printed++
		there, _ := r.gateway.Enrollment(o.KeyHash)
		fmt.Fprintf(w, "  history of %s: enrolled %v, %v\n", o.ID(), there.Enrolled, there.Statuses)
		for _, id := range there.TrackingIDs {
			if p, err := r.gateway.PollsOf(id); err == nil {
				fmt.Fprintf(w, "    polls %d, from %s to %s\n", p.Count, p.First.Format(time.StampMicro), p.Last.Format(time.StampMicro))
			}
		}
		fmt.Fprintf(w, "    schedule: %s; due message: %s; ledger: %s\n",
			r.last(ctx, r.site.Layout.Parked, subjects.Parked(oracle.Producer, o.ID())),
			r.last(ctx, r.site.Layout.Parked, subjects.Due(oracle.Producer, o.ID())),
			r.last(ctx, "KV_"+r.site.Layout.Orders, "$KV."+r.site.Layout.Orders+"."+oracle.Producer+"."+o.ID()))
		for _, wake := range r.site.Wakes.Wakes()[oracle.Producer+"."+o.ID()] {
			fmt.Fprintf(w, "    woken %s, due %s\n", wake.Stored.Format(time.StampMicro), wake.Due.Format(time.StampMicro))
		}
		for _, worker := range r.site.Workers() {
			printLines(w, worker.Log, o.ID())
		}
	}
}

// last says when the last message on a subject was stored, and when it is due.
func (r *run) last(ctx context.Context, stream, subject string) string {
	st, err := r.site.JS.Stream(ctx, stream)
	if err != nil {
		return err.Error()
	}
	m, err := st.GetLastMsgForSubject(ctx, subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return "nothing"
	case err != nil:
		return err.Error()
	}
	return fmt.Sprintf("message %d of %s %s", m.Sequence, m.Time.Format(time.StampMicro), m.Header.Get(entrustbus.HeaderDue))
}

// printLines prints the lines of a log that name an order.
func printLines(w io.Writer, file, id string) {
	f, err := os.Open(file)
	if err != nil {
		fmt.Fprintln(w, "   ", err)
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// An order's id may begin another's.
		if line := lines.Text() + " "; strings.Contains(line, "="+id+" ") || strings.Contains(line, "."+id+" ") {
			fmt.Fprintln(w, "   ", line)
		}
	}
}
