// Command throughput measures the order rate of one worker beside a bare loop that only
// pulls, posts, publishes and acknowledges: no ledger, no check, no dedupe.
//
//	go run ./throughput                      all rows, as in docs/performance.md
//	go run ./throughput --quick              the first three rows, on a host that others use too
//	go run ./throughput --only "at 0 ms" --beside old=/tmp/entrust-worker
//	go run ./throughput --scale --page ../docs/performance.md   how the cost grows, with plots
//
// Bare loop and worker alternate on the same servers and the same gateway, each in a
// process of its own, in several rounds. A figure is the median of the rounds, with
// minimum and maximum; a ratio is that of two neighbouring rounds. The command measures
// how busy other processes keep the host, before each round and during it. Without
// --quick, it repeats a round at most twice if they took more than a tenth.
//
// Results go to results/throughput.json, or throughput-quick.json. --page writes the
// table into a page, between its marks. The command exits with status 1 if it cannot
// measure; it prints missed bars. It needs Linux, the go command, and the directory bench
// as the working directory.
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
	"strings"
	"syscall"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/stats"
)

func main() {
	roles := map[string]func(string) error{"gateway": runGateway, "loop": runBare}
	if len(os.Args) == 3 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
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
	quick, scale, deep bool
	rounds             int
	only, beside       string
	latency            time.Duration
	profiles, page     string
	results, dir, name string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("throughput", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.BoolVar(&o.quick, "quick", false, "the first three rows; do not repeat rounds when others use the host")
	f.BoolVar(&o.scale, "scale", false, "what an order costs as queue, producers, workers and parked orders grow, in place of the rows; plots beside --page")
	f.BoolVar(&o.deep, "deep", false, "with --scale: up to a million requests queued and 500,000 orders parked")
	f.IntVar(&o.rounds, "rounds", 3, "rounds of each row")
	f.StringVar(&o.only, "only", "", "only rows with this in their name")
	f.StringVar(&o.beside, "beside", "", "name=path of another build of the worker, to be measured in the same rounds")
	f.DurationVar(&o.latency, "latency", 20*time.Second, "time over which added latency is measured; 0s: not at all")
	f.StringVar(&o.profiles, "profiles", "", "directory for CPU and allocation profiles of the worker in the first row's last round (default: none)")
	f.StringVar(&o.results, "results", "results", "directory for the results as JSON; empty: none")
	f.StringVar(&o.page, "page", "", "page for the table, between its marks (default: none)")
	f.StringVar(&o.dir, "dir", "", "directory for the servers' files (default: a temporary one)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.rounds < 1 {
		return nil, fmt.Errorf("--rounds must be at least 1: %d", o.rounds)
	}
	if o.name = "throughput"; o.quick {
		o.name = "throughput-quick"
	}
	if o.scale {
		o.name = "scale"
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "throughput-")
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
	m := &measurement{options: o, dir: dir, report: &report{Machine: stats.Machine(dir), Begun: begun.UTC().Truncate(time.Second), Quick: o.quick}}
	m.say = func(format string, args ...any) {
		fmt.Fprintf(stderr, "%6.0fs  %s\n", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
	}
	m.say("building the worker")
	bin, err := testbed.Build(ctx, dir, false)
	if err != nil {
		return err
	}
	m.bins = []binary{{"worker", bin}}
	if name, path, ok := strings.Cut(o.beside, "="); ok {
		m.bins = append(m.bins, binary{name, path})
	}
	m.say("making certificate requests")
	if m.csrs, err = makeCSRs(6000); err != nil {
		return err
	}
	series := m.all
	if o.scale {
		series = m.scale
	}
	// What was measured before a failure is kept.
	failed := series(ctx)
	if failed != nil && len(m.report.Rows)+len(m.report.Scale) == 0 {
		return failed
	}
	m.report.Took = time.Since(begun).Round(time.Second).String()
	fmt.Fprint(stdout, m.report)
	if o.results != "" {
		err = m.report.save(filepath.Join(o.results, o.name+".json"))
	}
	if o.page != "" {
		err = errors.Join(err, m.report.write(o.page, o.name))
		for _, s := range m.report.Scale {
			err = errors.Join(err, s.draw(filepath.Join(filepath.Dir(o.page), "scale-"+s.Name+".svg")))
		}
	}
	return errors.Join(failed, err)
}
