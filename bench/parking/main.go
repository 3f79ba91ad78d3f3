// Command parking measures the cost of parked orders: half a million orders wait for
// approval in one nats-server. One worker, in a process of its own, handles them against
// the gateway simulator.
//
//	go run ./parking                              all sizes, as in docs/parking.md
//	go run ./parking --sizes 1000 --window 10s    a quick look
//	go run ./parking --sizes "" --surge 100000    orders due in the same instant
//	go run ./parking --sizes 500000 --lead 0s     half a million, polled from rest
//
// For each size it prints these figures: the rate of parking beside that of immediate
// issuance in the same run; memory and goroutines of the worker with none parked and with
// all; memory of the server; CPU while nothing is due; and the lateness of polls that are
// due within a window, after a lead with few due polls. At one size it kills worker and
// server while orders are due. For comparison, the same requests wait in a client with a
// goroutine for each, and in a client that hands them back with NakWithDelay.
//
// It exits with status 1 and names the bar if a figure misses a bar of the design. It
// needs Linux, the go command, and the directory bench as the working directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/stats"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "hold" {
		if err := hold(os.Args[2], os.Args[3]); err != nil {
			complain(err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	sizes        []int
	baselineMost int
	kill         int
	surge        int
	rate         float64
	plan         plan
	svg, table   string
	dir          string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("parking", flag.ContinueOnError)
	f.SetOutput(stderr)
	sizes := f.String("sizes", "1000,10000,100000,500000", "numbers of parked orders, separated by commas")
	f.IntVar(&o.baselineMost, "baselines", 100_000, "largest size at which the other ways are measured too; 0: none")
	f.IntVar(&o.kill, "kill", 10_000, "size at which worker and server are killed; 0: none")
	f.IntVar(&o.surge, "surge", 0, "orders that are due in the same instant; 0: no such run")
	f.Float64Var(&o.rate, "rate", 1000, "calls to the gateway a second in the surge, at most; 0: no limit")
	f.DurationVar(&o.plan.window, "window", time.Minute, "time in which up to 100,000 orders are due; more stay parked")
	f.DurationVar(&o.plan.lead, "lead", 30*time.Second, "time before the window, in which 3 % more orders, at most 3,000, are due; 0s: none, and the window begins from rest")
	f.IntVar(&o.plan.gogc, "server-gogc", 0, "GOGC of nats-server, in percent; 0: its own")
	f.DurationVar(&o.plan.settle, "settle", 10*time.Second, "rest before memory is read")
	f.DurationVar(&o.plan.idle, "idle", 20*time.Second, "time over which CPU is measured while nothing is due")
	f.StringVar(&o.plan.profiles, "profiles", "", "directory for heap and CPU profiles of the worker (default: none)")
	f.StringVar(&o.svg, "svg", "", "file for the plot of memory against parked orders")
	f.StringVar(&o.table, "table", "", "file for the tables as Markdown; a page with marks for them keeps its text")
	f.StringVar(&o.dir, "dir", "", "directory for the servers' files (default: a temporary one)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	for word := range strings.SplitSeq(*sizes, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < rounds {
			return nil, fmt.Errorf("--sizes must be numbers of at least %d, not %q", rounds, word)
		}
		o.sizes = append(o.sizes, n)
	}
	if o.plan.gogc < 0 {
		return nil, fmt.Errorf("--server-gogc must not be negative: %d", o.plan.gogc)
	}
	if o.plan.lead < 0 {
		return nil, fmt.Errorf("--lead must not be negative: %v", o.plan.lead)
	}
	if o.plan.window < time.Second {
		return nil, fmt.Errorf("--window must be at least a second: %v", o.plan.window)
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "parking-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
			return
		}
		fmt.Fprintln(stderr, "files are kept in", dir)
	}()
	begun := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(stderr, "%6.0fs  %s\n", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
	}
	r := &report{machine: stats.Machine(dir), plan: o.plan}
	for _, v := range o.plan.serverEnv() {
		r.machine += " with " + v
	}
	// Report the measurements before a signal, too.
	err = o.measure(ctx, r, dir, say)
	r.sort()
	fmt.Fprint(stdout, r)
	if o.table != "" && len(r.sections()) > 0 {
		err = errors.Join(err, r.write(o.table))
	}
	if o.svg != "" && len(r.sizes) > 0 {
		err = errors.Join(err, os.WriteFile(o.svg, []byte(r.memory()), 0o644))
	}
	for _, m := range r.missed() {
		err = errors.Join(err, errors.New(m))
	}
	if err == nil {
		fmt.Fprintln(stdout, "\nEvery bar is met.")
	}
	return err
}

// measure makes the requests and runs the measurements one after the other, each on its
// own servers. It returns an error if the run cannot continue.
func (o *options) measure(ctx context.Context, r *report, dir string, say func(string, ...any)) error {
	say("building the worker")
	bin, err := testbed.Build(ctx, dir, false)
	if err != nil {
		return err
	}
	most := o.surge
	for _, n := range o.sizes {
		most = max(most, n+o.plan.ahead(n))
	}
	say("making %s certificate requests, each with a key of its own", thousands(most))
	hold, err := makeRequests(kindHold, most)
	if err != nil {
		return err
	}
	issue, err := makeRequests(kindIssue, warmUp+20_000)
	if err != nil {
		return err
	}
	// A failed measurement must not discard the others, which took long.
	try := func(what string, f func(dir string) error) error {
		say("%s", what)
		kept := filepath.Join(dir, strings.ReplaceAll(what, " ", "-"))
		if err := f(kept); err != nil {
			if ctx.Err() != nil {
				return err
			}
			say("%v", err)
			r.broken = append(r.broken, fmt.Sprintf("%s: %v", what, err))
		}
		return nil
	}
	at := func(what string, f func(s *site) error) error {
		return try(what, func(dir string) error {
			s, err := openSite(ctx, bin, dir, o.plan)
			if err != nil {
				return err
			}
			if err := f(s); err != nil {
				return errors.Join(err, s.end()) // the files stay
			}
			return s.close()
		})
	}
	for _, n := range o.sizes {
		p := o.plan
		p.kill = n == o.kill
		err := at(thousands(n)+" orders", func(s *site) error {
			f, err := p.measure(ctx, s, hold, issue, n, say)
			if err == nil {
				r.sizes = append(r.sizes, f)
				say("worker %s, late p99 %s in the window, lost %d", signed(f.growth()), short(f.window.At(0.99)), f.lost)
			}
			return err
		})
		if err != nil {
			return err
		}
		if n > o.baselineMost {
			continue
		}
		for _, v := range []struct {
			way  string
			kill bool
		}{{sleeping, false}, {naking, false}, {naking, true}} {
			if v.kill && n != o.kill {
				continue
			}
			p.kill = v.kill
			what := thousands(n) + " orders " + v.way
			if v.kill {
				what += " over a kill"
			}
			err := try(what, func(dir string) error {
				found, err := p.measureBaseline(ctx, dir, v.way, hold, n, say)
				if err == nil {
					r.baselines = append(r.baselines, found)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	if o.surge > 0 {
		err := at(thousands(o.surge)+" orders due in the same instant", func(s *site) error {
			var err error
			r.surge, err = measureSurge(ctx, s, hold, issue, o.surge, o.rate, say)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
