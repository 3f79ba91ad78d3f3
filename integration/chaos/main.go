// Command chaos runs workers, NATS and the gateway simulator through trouble of
// every kind while orders flow, and judges what is left.
//
//	go run ./integration/chaos --seed 7 --for 2m
//	go run ./integration/chaos --short
//
// The seed decides what is ordered and what goes wrong, and when it is meant to;
// how threads and packets fall in between is the machine's. Each run prints its
// seed and lost, double_enrollments, second_results, early_polls and
// held_unconfirmed. The status is 1 if a promise was broken.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/entrust-worker/entrust-worker/integration/harness"
)

// shortSeeds are those of --short: one server and both dialects, then a cluster.
var shortSeeds = []uint64{1, 2, 3}

// options are the flags.
type options struct {
	seed    uint64
	span    time.Duration // of the trouble and of the settling together
	orders  int
	servers int // 0: by the seed
	logs    string
	verbose bool
}

func main() {
	var o options
	short := flag.Bool("short", false, "three fixed seeds in less than two minutes")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1e6), "decides everything that is decided")
	flag.DurationVar(&o.span, "for", 2*time.Minute, "length of the run; the trouble lasts two thirds of it")
	flag.IntVar(&o.orders, "orders", 300, "number of orders")
	flag.IntVar(&o.servers, "servers", 0, "NATS servers, 1 or 3; 0: the seed decides")
	flag.StringVar(&o.logs, "logs", "", "folder for the workers' logs; default a temporary one, kept if a promise was broken")
	flag.BoolVar(&o.verbose, "v", false, "tell each trouble")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	runs := []options{o}
	if *short {
		runs = nil
		for _, seed := range shortSeeds {
			r := o
			r.seed, r.span, r.orders = seed, 27*time.Second, 120
			runs = append(runs, r)
		}
	}
	os.Exit(all(ctx, runs))
}

// all runs one after the other, and returns the status to end with.
func all(ctx context.Context, runs []options) int {
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin, err := harness.Build(ctx, dir, false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status := 0
	for _, o := range runs {
		if o.logs == "" {
			o.logs = filepath.Join(dir, fmt.Sprintf("seed-%d", o.seed))
		}
		begun := time.Now()
		v, err := chaos(ctx, o, bin)
		if err != nil {
			fmt.Fprintf(os.Stderr, "seed=%d: %v\n", o.seed, err)
			return 1
		}
		fmt.Printf("seed=%d ", o.seed)
		v.Print(os.Stdout)
		fmt.Printf("  took %v\n", time.Since(begun).Round(time.Second))
		if !v.Good() {
			fmt.Printf("  logs %s\n", o.logs)
			status = 1
		}
	}
	if status == 0 {
		os.RemoveAll(dir)
	}
	return status
}
