package main

import (
	"fmt"
	"slices"
	"time"
)

// Bars of the design.
const (
	leastRatio     = 0.7 // parking against issuing at once
	leastOrders    = 10_000
	mostGrowth     = 16 << 20
	mostGoroutines = 4 // a connection or a beat more or less; parked orders would be thousands
	mostLate       = time.Second
)

// missed names every missed bar.
func (r *report) missed() []string {
	all := slices.Clone(r.broken)
	miss := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, f := range r.sizes {
		n := thousands(f.orders)
		// With fewer orders, the start dominates the rate.
		if ratio := f.parkRate() / f.issueRate(); f.orders >= leastOrders && ratio < leastRatio {
			miss("%s orders: parked at %.2f of the rate of immediate issuance, below %.2f", n, ratio, leastRatio)
		}
		if growth := f.growth(); growth > mostGrowth {
			miss("%s orders: the worker grew by %s, more than %s", n, megabytes(growth), megabytes(mostGrowth))
		}
		if more := f.after.goroutines - f.before.goroutines; more > mostGoroutines {
			miss("%s orders: %d goroutines more than with none", n, more)
		}
		if late := f.window.At(0.99); late > mostLate {
			miss("%s orders: lateness p99 is %s, above %s", n, short(late), short(mostLate))
		}
		for _, c := range []struct {
			what  string
			count int
		}{
			{"lost", f.lost}, {"polled early", f.early}, {"enrolled or ended twice", f.twice},
			{"polled after their end", f.afterClose}, {"dead letters", f.dead}, {"wake-ups or due messages left on the bus", f.left},
		} {
			if c.count > 0 {
				miss("%s orders: %d %s", n, c.count, c.what)
			}
		}
	}
	if r.surge != nil {
		all = append(all, r.surge.missing()...)
	}
	return all
}
