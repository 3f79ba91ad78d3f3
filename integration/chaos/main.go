// Command chaos runs workers, NATS servers and the gateway simulator through many kinds
// of faults while orders flow, and checks the outcome.
//
//	go run ./integration/chaos --seed 7 --for 2m
//	go run ./integration/chaos --short
//	go run ./integration/chaos --scenario parking --seeds 20
//
//	go run ./integration/chaos --scenario partial --seed 3 -v
//
// The seed decides the orders, the faults and their planned times. The machine decides
// the order of threads and packets. Each run prints its seed and lost,
// double_enrollments, second_results, early_polls and held_unconfirmed. The status is 1
// if a promise was broken, for example by a held order that no fault explains.
//
// A fault explains a held order if it fell into the time of the order's submission. A
// fault explains only as many orders as it can have cost. For a dead worker these are its
// in-flight orders. For an outage these are the orders in flight, the orders that opened
// the breaker, and one canary per interval. explained<=N is the number of orders that the
// run's faults could have cost.
//
// Each scenario has a file; --help lists the scenarios. All scenarios except all and
// parking take about 70 seconds a seed; --for and --orders change this.
//
//   - partial: enrollments at one CA answered 500, polls answered 404, 410 or 500, one CA of
//     two answering 503, at 40 orders a second.
//   - proxy: 503, 404 and 403 with a body that is not the gateway's; GOAWAY, REFUSED_STREAM,
//     connections closed while idle; HTTP/2 or HTTP/1.1.
//   - clocks: three of four workers have clocks that are up to two years wrong. Their
//     binary is built with another package time; see testbed.BuildSkewed.
//   - frozen: SIGSTOP for 10 to 18 seconds.
//   - slow-net: delay and jitter on every connection.
//   - upgrade: servers of 2.14, 2.15, 2.14 and 2.15 in turn. It needs the older server, which
//     the go command fetches and builds.
//   - neighbours: other producers that send garbage, headers of 65 kB, message ids of
//     others, refused requests and random CAs, and one whose orders are answered 500.
//   - rolling: --previous REV beside this revision. It needs git and tar.
//   - rollback: the store of the one server is put back.
//
// The scenario parking parks --orders orders (default 2,000) on three servers, and kills
// the leader of the parked stream repeatedly while the orders are due. Each order is
// polled --polls times before the gateway approves it. The scenario prints more counts.
// polls_across_end counts polls that were in flight when the order's result was stored.
// polls_after_close counts polls of closed orders, which is a broken promise. A seed that
// killed no leader, or polled an order less than --polls times, proves nothing, and the
// status is 1 too. 20 seeds take about 19 minutes.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// shortSeeds are the seeds of --short: one server with each dialect, then a cluster.
var shortSeeds = []uint64{1, 2, 3}

// options are the flags.
type options struct {
	name     string // of the scenario
	seed     uint64
	seeds    int
	span     time.Duration // of the faults and of the settling together
	orders   int
	polls    int
	servers  int    // 0: by the seed
	previous string // revision
	logs     string
	verbose  bool
}

func main() {
	var o options
	short := flag.Bool("short", false, "three fixed seeds; about two minutes")
	flag.StringVar(&o.name, "scenario", "all", "the scenario:"+list())
	flag.Uint64Var(&o.seed, "seed", 0, "decides orders and faults; 0: the seeds 1 to --seeds, or a random seed")
	flag.IntVar(&o.seeds, "seeds", 0, "number of seeds, from 1 on")
	flag.DurationVar(&o.span, "for", 0, "length of a run, before it settles; default 2m for all (faults happen in two thirds of it), about 1m for the others")
	flag.IntVar(&o.orders, "orders", 0, "number of orders; 0: the scenario's number, in proportion to --for")
	flag.IntVar(&o.polls, "polls", 4, "polls of each parked order; the last one returns the certificate")
	flag.IntVar(&o.servers, "servers", 0, "NATS servers, 1 or 3, of the scenarios that run with either; 0: the seed decides")
	flag.StringVar(&o.previous, "previous", "HEAD~1", "the revision that the scenario rolling deploys from and back to")
	flag.StringVar(&o.logs, "logs", "", "directory of the workers' logs; default a temporary one, kept if a promise was broken")
	flag.BoolVar(&o.verbose, "v", false, "print each fault")
	flag.Parse()
	runs, err := o.plan(*short)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	good, err := all(ctx, runs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

// list describes the scenarios, one line each.
func list() string {
	var b strings.Builder
	for _, s := range scenarios() {
		fmt.Fprintf(&b, "\n  %-10s  %s", s.name, s.about)
	}
	return b.String()
}

// plan returns the options of each run.
func (o options) plan(short bool) ([]options, error) {
	seeds := []uint64{o.seed}
	s, err := scenarioOf(o.name)
	switch {
	case err != nil:
		return nil, err
	case short && o.name != "all":
		return nil, errors.New("--short plays the scenario all")
	case o.span < 0 || o.span > 0 && o.span < 15*time.Second:
		return nil, fmt.Errorf("--for must be at least 15s: %v", o.span)
	case o.polls < 2 || o.orders < 0 || o.seeds < 0:
		return nil, errors.New("--polls must be at least 2, --orders and --seeds not negative")
	case o.servers != 0 && o.servers != 1 && o.servers != 3:
		return nil, fmt.Errorf("--servers must be 1 or 3: %d", o.servers)
	case short:
		seeds, o.span, o.orders = shortSeeds, 27*time.Second, 120
	case o.seed == 0 && o.seeds == 0:
		seeds[0] = 1 + rand.Uint64N(1e6)
	case o.seed == 0:
		seeds = nil
		for i := range o.seeds {
			seeds = append(seeds, uint64(i)+1)
		}
	}
	if o.orders == 0 {
		o.orders = s.orders
		if o.span > 0 && s.span > 0 {
			o.orders = int(float64(s.orders) * o.span.Seconds() / s.span.Seconds())
		}
	}
	o.span = cmp.Or(o.span, s.span)
	var runs []options
	for _, seed := range seeds {
		o.seed = seed
		runs = append(runs, o)
	}
	return runs, nil
}

// all runs the seeds one after the other and prints the result of each.
func all(ctx context.Context, runs []options) (good bool, err error) {
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		return false, err
	}
	t := &tools{dir: dir, built: map[string]string{}}
	good = true
	var total tally
	for _, o := range runs {
		o.logs = filepath.Join(cmp.Or(o.logs, dir), fmt.Sprintf("seed-%d", o.seed))
		found, err := o.run(ctx, t)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err != nil {
			fmt.Printf("seed=%d: %v; logs %s\n", o.seed, err, o.logs)
			good = false
			continue
		}
		found.print(os.Stdout, o)
		total.add(found)
		good = good && found.Good()
	}
	if len(runs) > 1 {
		fmt.Printf("total of %d seeds: %s\n", len(runs), &total)
	}
	if good {
		err = os.RemoveAll(dir)
	}
	return good, err
}
