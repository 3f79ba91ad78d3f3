// Command parkrun parks orders on three servers and kills the leader of the parked
// stream, again and again, while the orders are due.
//
//	go run ./integration/parkrun                     20 seeds of 2,000 orders; some 19 minutes
//	go run ./integration/parkrun --seed 7            one of them
//	go run ./integration/parkrun --seeds 2 --orders 200
//
// Every order is polled --polls times before the gateway approves it. The seed
// decides when a leader is killed and for how long it is gone; how threads and
// packets fall in between is the machine's. Each seed is one line, and the last
// line is their sum. polls_across_end are polls that were under way when the same
// order's result was stored, polls_after_close those of orders that were closed.
// The status is 1 if a promise was broken: an order was lost, enrolled twice, told
// twice, or polled early or after its close. It is 1 too where a seed killed no leader
// or polled an order less than --polls times: that run would have shown nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/entrust-worker/entrust-worker/integration/harness"
)

// options are the flags.
type options struct {
	seed    uint64
	orders  int
	polls   int
	logs    string
	verbose bool
}

func main() {
	var o options
	seeds := flag.Int("seeds", 20, "number of seeds, from 1 on")
	flag.Uint64Var(&o.seed, "seed", 0, "run this seed alone; 0: --seeds of them")
	flag.IntVar(&o.orders, "orders", 2000, "orders for each seed")
	flag.IntVar(&o.polls, "polls", 4, "polls of each order that its approval takes")
	flag.StringVar(&o.logs, "logs", "", "folder for the workers' logs; default a temporary one, kept if a promise was broken")
	flag.BoolVar(&o.verbose, "v", false, "tell each kill")
	flag.Parse()
	if o.polls < 2 || o.orders < 1 {
		fmt.Fprintln(os.Stderr, "--polls must be at least 2, and --orders at least 1")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var runs []options
	for seed := range uint64(*seeds) {
		r := o
		r.seed = seed + 1
		runs = append(runs, r)
	}
	if o.seed != 0 {
		runs = []options{o}
	}
	good, err := runAll(ctx, runs, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

// runAll runs every seed and prints what each came to.
func runAll(ctx context.Context, runs []options, w io.Writer) (good bool, err error) {
	bin, err := os.MkdirTemp("", "parkrun-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(bin)
	worker, err := harness.Build(ctx, bin, false)
	if err != nil {
		return false, err
	}
	var total tally
	good = true
	for _, o := range runs {
		t, err := run(ctx, o, worker, w)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err != nil {
			fmt.Fprintf(w, "seed %d: %v\n", o.seed, err)
		}
		good = good && t.good
		total.add(t)
	}
	fmt.Fprintf(w, "total of %d seeds: %s\n", len(runs), total)
	return good, nil
}

// tally is what one seed, or all of them, came to.
type tally struct {
	orders, polls, fewest, kills              int
	lost, doubles, seconds, early, late, held int
	repaired, across                          int
	took                                      time.Duration
	good                                      bool
}

func (t *tally) add(o tally) {
	if t.orders == 0 || o.fewest < t.fewest {
		t.fewest = o.fewest
	}
	t.orders += o.orders
	t.polls += o.polls
	t.kills += o.kills
	t.lost += o.lost
	t.doubles += o.doubles
	t.seconds += o.seconds
	t.early += o.early
	t.late += o.late
	t.held += o.held
	t.repaired += o.repaired
	t.across += o.across
	t.took += o.took
}

func (t tally) String() string {
	return fmt.Sprintf("orders=%d polls=%d fewest_polls=%d kills=%d lost=%d double_enrollments=%d second_results=%d early_polls=%d polls_after_close=%d polls_across_end=%d held_unconfirmed=%d repaired_by_watchdog=%d seconds=%.0f",
		t.orders, t.polls, t.fewest, t.kills, t.lost, t.doubles, t.seconds, t.early, t.late, t.across, t.held, t.repaired, t.took.Seconds())
}
